// Command blast is the benchmark's own load generator, for what wrk and h2load cannot do: open loop at a fixed rate
// with latencies from the intended send time, gRPC streams, opaque bytes, connection churn, idle and stalled
// connections. One thread, JSON on standard output.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

type config struct {
	kind     string
	path     string
	host     string
	conns    int
	streams  int
	size     int
	depth    int
	rate     float64
	warmup   time.Duration
	duration time.Duration
	down     bool
	watched  bool
	addr     netip.AddrPort
}

// Result is what a run measured; fields that a mode does not measure are zero and left out.
type Result struct {
	Requests int64   `json:"requests,omitempty"`
	Bytes    int64   `json:"bytes,omitempty"`
	Failed   int64   `json:"failed,omitempty"`
	Seconds  float64 `json:"seconds"`
	// microseconds, from the intended send time, of requests far from any stall of the machine
	P50    float64 `json:"p50,omitempty"`
	P99    float64 `json:"p99,omitempty"`
	P999   float64 `json:"p999,omitempty"`
	P99Raw float64 `json:"p99_raw,omitempty"` // of all requests
	Calm   float64 `json:"calm,omitempty"`    // share of requests far from any stall
	Late   float64 `json:"late,omitempty"`    // share of requests that the generator itself sent more than 200 µs late
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "blast:", err)
		os.Exit(1)
	}
}

func run() error {
	var c config
	flag.StringVar(&c.kind, "kind", "http", "http, grpc or tcp")
	flag.StringVar(&c.path, "path", "/200", "path of requests")
	flag.StringVar(&c.host, "host", "app.bench", "authority of requests")
	flag.IntVar(&c.conns, "conns", 1, "connections")
	flag.IntVar(&c.streams, "streams", 1, "streams a connection (grpc)")
	flag.IntVar(&c.size, "size", 100, "message size in bytes (grpc)")
	flag.IntVar(&c.depth, "depth", 1, "messages in flight a stream (stream)")
	flag.Float64Var(&c.rate, "rate", 0, "requests a second (rate, hold)")
	flag.DurationVar(&c.warmup, "warmup", 0, "time before the measurement")
	flag.DurationVar(&c.duration, "duration", time.Second, "time of the measurement")
	flag.BoolVar(&c.down, "down", false, "from server to client (bulk)")
	flag.BoolVar(&c.watched, "watch", false, "leave out requests that were due near a stall of the machine (rate)")
	flag.Parse()
	if flag.NArg() == 1 && flag.Arg(0) == "watch" {
		return runWatch()
	}
	if flag.NArg() != 2 {
		return errors.New("usage: blast [flags] rate|stream|bulk|download|churn|hold|stall ADDRESS, or blast watch")
	}
	var err error
	if c.addr, err = netip.ParseAddrPort(flag.Arg(1)); err != nil {
		return fmt.Errorf("parse address: %w", err)
	}
	modes := map[string]func(config, *poll.Loop) (Result, error){
		"rate": runRate, "stream": runStream, "bulk": runBulk, "churn": runChurn, "hold": runHold, "stall": runStall,
		"download": runDownload,
	}
	mode := modes[flag.Arg(0)]
	if mode == nil {
		return fmt.Errorf("unknown mode %q", flag.Arg(0))
	}
	loop, err := prepare()
	if err != nil {
		return err
	}
	result, err := mode(c, loop)
	if err != nil {
		return fmt.Errorf("%s: %w", flag.Arg(0), err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// prepare makes this thread wake up when it asked to: timers are exact instead of 50 µs late.
func prepare() (*poll.Loop, error) {
	runtime.LockOSThread()
	debug.SetGCPercent(400)
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("set timer slack: %w", err)
	}
	return poll.New()
}

// until runs the loop to the deadline.
func until(loop *poll.Loop, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		if err := loop.Wait(left); err != nil {
			return err
		}
	}
}

// serveUntilEOF says that everything is in place, and keeps it there until standard input ends. The loop goes on
// meanwhile.
func serveUntilEOF(loop *poll.Loop, every func(now time.Time) time.Duration) error {
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // any end will do
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return nil
		default:
		}
		if err := loop.Wait(every(time.Now())); err != nil {
			return err
		}
	}
}
