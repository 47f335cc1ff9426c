package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// outcome is what a load generator reports; times in microseconds.
type outcome struct {
	Requests float64 `json:"requests"`
	Bytes    float64 `json:"bytes"`
	Failed   float64 `json:"failed"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	P99Raw   float64 `json:"p99_raw"`
	Calm     float64 `json:"calm"`
	Late     float64 `json:"late"`
}

// blast runs the bench's own generator against the lane.
func (n *lane) blast(ctx context.Context, args ...string) (outcome, time.Duration, error) {
	command := lab.Command{Name: "blast", Path: filepath.Join(n.bench.bin, "blast"), Args: append(args, n.entry.String()),
		CPUs: n.layout.ends}
	out, used, err := command.Run(ctx)
	if err != nil {
		return outcome{}, 0, err
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		return outcome{}, 0, fmt.Errorf("read blast's result: %w", err)
	}
	if o.Failed > 0 {
		return o, used, fmt.Errorf("%g requests failed", o.Failed)
	}
	return o, used, nil
}

// hold starts blast in a mode that keeps connections and returns when they are all there; release lets go of them.
func (n *lane) hold(ctx context.Context, args ...string) (release func() error, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(n.bench.bin, "blast"), append(args, n.entry.String())...)
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("hold connections: %w", err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("hold connections: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("hold connections: %w", err)
	}
	release = func() error {
		_ = input.Close() // the generator ends on it
		return cmd.Wait()
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "ready\n" {
		_ = input.Close()
		return nil, fmt.Errorf("hold connections: %w", cmd.Wait())
	}
	return release, nil
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in ([0-9.]+)s`)
	wrkErrors   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)`)
	wrkLatency  = regexp.MustCompile(`(50|99)%\s+([0-9.]+)(us|ms|s)`)
)

// wrk is the closed-loop HTTP/1 load.
func (n *lane) wrk(ctx context.Context, path string, conns int, d time.Duration) (outcome, time.Duration, error) {
	command := lab.Command{Name: "wrk", Path: "wrk", CPUs: n.layout.ends, Args: []string{
		"-t1", fmt.Sprint("-c", conns), "-d", seconds(d), "--latency", "http://" + n.entry.String() + path}}
	out, used, err := command.Run(ctx)
	if err != nil {
		return outcome{}, 0, err
	}
	if bad := wrkErrors.Find(out); bad != nil {
		return outcome{}, 0, fmt.Errorf("wrk: %s", bad)
	}
	m := wrkRequests.FindSubmatch(out)
	if m == nil {
		return outcome{}, 0, fmt.Errorf("wrk: %w: %s", errNoRequests, out)
	}
	o := outcome{Requests: number(m[1]), Seconds: number(m[2])}
	for _, m := range wrkLatency.FindAllSubmatch(out, -1) {
		unit := map[string]float64{"us": 1, "ms": 1e3, "s": 1e6}[string(m[3])]
		if string(m[1]) == "50" {
			o.P50 = number(m[2]) * unit
		} else {
			o.P99 = number(m[2]) * unit
		}
	}
	return o, used, nil
}

var (
	h2loadRate     = regexp.MustCompile(`finished in [0-9.]+m?s, ([0-9.]+) req/s`)
	h2loadRequests = regexp.MustCompile(`(\d+) succeeded, (\d+) failed, (\d+) errored`)
	h2loadStatus   = regexp.MustCompile(`status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
)

// h2load is the closed-loop gRPC unary load: 100 bytes there and back.
func (n *lane) h2load(ctx context.Context, conns, streams int, d time.Duration) (outcome, time.Duration, error) {
	command := lab.Command{Name: "h2load", Path: "h2load", CPUs: n.layout.ends, Args: []string{
		fmt.Sprint("-c", conns), fmt.Sprint("-m", streams), "-D", seconds(d), "-d", n.bench.message,
		"-H", "content-type: application/grpc", "-H", "te: trailers", "http://" + n.entry.String() + "/bench.Echo/Call"}}
	out, used, err := command.Run(ctx)
	if err != nil {
		return outcome{}, 0, err
	}
	rate, requests, status := h2loadRate.FindSubmatch(out), h2loadRequests.FindSubmatch(out),
		h2loadStatus.FindSubmatch(out)
	if rate == nil || requests == nil || status == nil {
		return outcome{}, 0, fmt.Errorf("h2load: %w: %s", errNoRequests, out)
	}
	if number(requests[2])+number(requests[3])+number(status[2])+number(status[3])+number(status[4]) > 0 {
		return outcome{}, 0, fmt.Errorf("h2load: %s; %s", requests[0], status[0])
	}
	o := outcome{Requests: number(requests[1])}
	o.Seconds = o.Requests / number(rate[1])
	return o, used, nil
}

func number(text []byte) float64 {
	v, _ := strconv.ParseFloat(string(text), 64) // the pattern matched digits
	return v
}

// seconds rounds up to what wrk and h2load read: whole seconds.
func seconds(d time.Duration) string { return fmt.Sprintf("%.0f", max(1, d.Seconds())) }
