package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// result sums up a load run. Durations are milliseconds, measured from the intended start of each request.
type result struct {
	Sent     int            `json:"sent"`
	OK       int            `json:"ok"`
	Failed   int            `json:"failed"`
	Statuses map[int]int    `json:"statuses"`
	Errors   map[string]int `json:"errors"`
	Causes   map[string]int `json:"causes"` // of failures, as Proxy-Status has them
	Pods     map[string]int `json:"pods"`
	P50      float64        `json:"p50_ms"`
	P99      float64        `json:"p99_ms"`
	Max      float64        `json:"max_ms"`
	Seconds  float64        `json:"seconds"`

	// LastOK is when the last answer of 2xx was complete.
	LastOK time.Time `json:"last_ok"`

	mu        sync.Mutex // guards the fields above while the run lasts
	latencies []float64
}

// loadCommand sends requests at a fixed rate, open loop, without retries of its own.
func loadCommand(args []string) error {
	fs := flags("load")
	url := fs.String("url", "", "where to send requests")
	proto := fs.String("proto", "h1", "h1 or h2c")
	rate := fs.Int("rate", 200, "requests a second")
	count := fs.Int("count", 1000, "requests in all")
	timeout := fs.Duration("timeout", 20*time.Second, "a request")
	fresh := fs.Bool("fresh", false, "a new connection for each request")
	var headers headerList
	fs.Var(&headers, "header", "header to send, \"Name: value\"; repeatable")
	_ = fs.Parse(args)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	t := transport(*proto)
	t.DisableKeepAlives = *fresh
	client := &http.Client{Transport: t, Timeout: *timeout}
	req, err := http.NewRequest(http.MethodGet, *url, http.NoBody)
	if err != nil {
		return err
	}
	headers.addTo(req)
	r := &result{Statuses: map[int]int{}, Errors: map[string]int{}, Causes: map[string]int{}, Pods: map[string]int{}}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range *count {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(*rate))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		r.Sent++
		wg.Go(func() { r.record(due, client, req.Clone(context.Background())) })
	}
	wg.Wait()
	r.Seconds = time.Since(start).Seconds()
	r.summarize()
	return printJSON(r)
}

func (r *result) record(due time.Time, client *http.Client, req *http.Request) {
	resp, err := client.Do(req)
	var status int
	var pod string
	if err == nil {
		status, pod = resp.StatusCode, resp.Header.Get("X-Pod")
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	took := float64(time.Since(due).Microseconds()) / 1000
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latencies = append(r.latencies, took)
	if err != nil {
		r.Failed++
		r.Errors[err.Error()]++
		fmt.Fprintln(os.Stderr, time.Now().Format(time.RFC3339Nano), err)
		return
	}
	r.Statuses[status]++
	if status/100 == 2 {
		r.LastOK = time.Now()
	}
	r.Pods[pod]++
	if status >= 500 {
		r.Failed++
		r.Causes[resp.Header.Get("Proxy-Status")]++
		fmt.Fprintln(os.Stderr, time.Now().Format(time.RFC3339Nano), status, resp.Header)
		return
	}
	r.OK++
}

func (r *result) summarize() {
	if len(r.latencies) == 0 {
		return
	}
	slices.Sort(r.latencies)
	at := func(q float64) float64 { return r.latencies[min(len(r.latencies)-1, int(q*float64(len(r.latencies))))] }
	r.P50, r.P99, r.Max = at(0.5), at(0.99), r.latencies[len(r.latencies)-1]
}
