package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/systems"
)

// workload is one kind of load and what is read from it.
type workload struct {
	name, title string
	kind        systems.Kind
	once        bool // measured in the first block only: it hardly varies
	quick       bool // part of BENCH=quick
	paced       bool // has an open loop, whose rate has to be found first
	pod         bool // needs a control plane: for systems that have one here
	phases      []phase
}

// phase is one measurement against a fresh lane.
type phase struct {
	layout  layout
	full    bool          // left out of BENCH=quick
	extra   time.Duration // beyond warming up, measuring and settling
	measure func(context.Context, *lane) (figures, error)
}

// figures are named values; names are without the layout, which is added when they are recorded. Units: see
// figureUnits.
type figures map[string]float64

var workloads = []workload{
	{name: "W0", title: "idle", kind: systems.HTTP, once: true, quick: true,
		phases: []phase{{layout: isolated, measure: idle}}},
	{name: "W1", title: "HTTP/1 GET, 200 bytes, 64 connections", kind: systems.HTTP, quick: true, paced: true,
		phases: []phase{
			{layout: isolated, measure: saturateHTTP("/200", 64)},
			{layout: shared, measure: saturateHTTP("/200", 64)},
			{layout: shared, measure: steady("high", highShare, systems.HTTP)},
			{layout: shared, full: true, measure: steady("low", lowShare, systems.HTTP)},
		}},
	{name: "W1c1", title: "HTTP/1 GET, 200 bytes, 1 connection", kind: systems.HTTP, phases: []phase{
		{layout: isolated, measure: saturateHTTP("/200", 1)},
	}},
	{name: "W1s", title: "HTTP/1 GET, 200 bytes: system calls of the pair a request", kind: systems.HTTP, once: true,
		phases: []phase{
			{layout: isolated, measure: syscalls("c64", 64)},
			{layout: isolated, measure: syscalls("c1", 1)},
		}},
	{name: "W2", title: "HTTP/1 GET, 64 KiB, 16 connections", kind: systems.HTTP, phases: []phase{
		{layout: isolated, measure: saturateHTTP("/64k", 16)},
		{layout: shared, measure: saturateHTTP("/64k", 16)},
	}},
	{name: "W3", title: "gRPC unary, 100 bytes, 4 connections of 16 streams", kind: systems.GRPC, quick: true, paced: true,
		phases: []phase{
			{layout: isolated, measure: saturateGRPC},
			{layout: shared, full: true, measure: saturateGRPC},
			{layout: shared, full: true, measure: steady("high", highShare, systems.GRPC)},
		}},
	{name: "W4", title: "gRPC streaming, 64 streams of 1 KiB messages", kind: systems.GRPC, phases: []phase{
		{layout: isolated, measure: stream("messages", 64, 1024, 4)},
		{layout: isolated, measure: stream("large", 1, 16384, 4)},
	}},
	{name: "W5", title: "opaque TCP, bulk", kind: systems.TCP, quick: true, phases: []phase{
		{layout: isolated, measure: bulk(1, false)},
		{layout: isolated, measure: bulk(1, true)},
		{layout: isolated, full: true, measure: bulk(4, false)},
		{layout: isolated, full: true, measure: bulk(4, true)},
	}},
	{name: "W6a", title: "a new TCP connection for each HTTP/1 request", kind: systems.HTTP,
		phases: []phase{{layout: isolated, measure: churn}}},
	{name: "W6b", title: "opaque TCP: connect, one exchange, close", kind: systems.TCP,
		phases: []phase{{layout: isolated, measure: churn}}},
	{name: "W7", title: "idle connections", kind: systems.HTTP, once: true, quick: true,
		phases: []phase{{layout: isolated, measure: hold}}},
	{name: "W7t", title: "idle opaque connections", kind: systems.TCP, once: true,
		phases: []phase{{layout: isolated, measure: hold}}},
	{name: "W8",
		title: "a Service of ten thousand endpoints: first push, and W1 at a tenth of the load while a hundred a second " +
			"change", kind: systems.HTTP,
		paced: true, pod: true, phases: []phase{
			{layout: isolated.inPod(), measure: push},
			{layout: shared.inPod(), extra: crowdWarmup, measure: turnover},
		}},
	{name: "W9", title: "W1 at half load beside an endless download", kind: systems.HTTP, paced: true,
		phases: []phase{{layout: shared, measure: mixed}}},
	{name: "W10", title: "64 stalled readers of an endless body", kind: systems.HTTP, once: true,
		phases: []phase{{layout: isolated, measure: stall}}},
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// The rates of the open loop, as shares of the slowest production comparator's throughput in the shared layout.
const (
	highShare = 0.5
	lowShare  = 0.1
)

// closedLoop measures throughput and CPU a request of a load that runs as fast as the lane allows.
func closedLoop(ctx context.Context, n *lane, run func(time.Duration) (outcome, time.Duration, error)) (figures,
	outcome, error) {
	if _, _, err := run(n.bench.plan.warmup); err != nil {
		return nil, outcome{}, fmt.Errorf("warm up: %w", err)
	}
	var o outcome
	profiled := n.profile(ctx, fmt.Sprintf("%s-%s", n.kind, n.layout.name))
	c, err := n.load(func() (used time.Duration, err error) {
		o, used, err = run(n.bench.plan.measure)
		return used, err
	})
	if err := errors.Join(err, profiled()); err != nil {
		return nil, o, err
	}
	if o.Requests == 0 {
		return nil, o, errNoRequests
	}
	return figures{"throughput": o.Requests / o.Seconds, "cpu": micros(c.pair) / o.Requests,
		"cpu_all": micros(c.all) / o.Requests}, o, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func saturateHTTP(path string, conns int) func(context.Context, *lane) (figures, error) {
	return func(ctx context.Context, n *lane) (figures, error) {
		f, o, err := closedLoop(ctx, n, func(d time.Duration) (outcome, time.Duration, error) {
			return n.wrk(ctx, path, conns, d)
		})
		if err == nil && conns == 1 {
			f["p50"] = o.P50
		}
		return f, err
	}
}

func saturateGRPC(ctx context.Context, n *lane) (figures, error) {
	f, _, err := closedLoop(ctx, n, func(d time.Duration) (outcome, time.Duration, error) {
		return n.h2load(ctx, 4, 16, d)
	})
	return f, err
}

// steady measures latencies at a fixed rate, the same for all systems.
func steady(name string, share float64, kind systems.Kind) func(context.Context, *lane) (figures, error) {
	return func(ctx context.Context, n *lane) (figures, error) {
		conns, streams := "64", "1"
		if kind == systems.GRPC {
			conns, streams = "4", "16"
		}
		rate := n.bench.rates[kind] * share
		var o outcome
		c, err := n.load(func() (used time.Duration, err error) {
			o, used, err = n.blast(ctx, "-kind", string(kind), "-conns", conns, "-streams", streams, "-rate", fmt.Sprint(rate),
				"-watch", "-warmup", n.bench.plan.warmup.String(), "-duration", n.bench.plan.measure.String(), "rate")
			return used, err
		})
		if err != nil {
			return nil, err
		}
		total := rate * c.wall.Seconds()
		return figures{name + ".p50": o.P50, name + ".p99": o.P99, name + ".p999": o.P999, name +
			".cpu": micros(c.pair) / total,
			name + ".cpu_all": micros(c.all) / total, name + ".late": o.Late, name + ".p99_raw": o.P99Raw, name +
				".calm": o.Calm}, nil
	}
}

func stream(name string, streams, size, depth int) func(context.Context, *lane) (figures, error) {
	return func(ctx context.Context, n *lane) (figures, error) {
		var o outcome
		c, err := n.load(func() (used time.Duration, err error) {
			o, used, err = n.blast(ctx, "-kind", "grpc", "-conns", "1", "-streams", fmt.Sprint(streams), "-size",
				fmt.Sprint(size),
				"-depth", fmt.Sprint(depth), "-warmup", "300ms", "-duration", n.bench.plan.measure.String(), "stream")
			return used, err
		})
		if err != nil {
			return nil, err
		}
		if o.Requests == 0 {
			return nil, errNoRequests
		}
		total := o.Requests / o.Seconds * c.wall.Seconds()
		return figures{name + ".throughput": o.Requests / o.Seconds, name + ".cpu": micros(c.pair) / total}, nil
	}
}

func bulk(conns int, down bool) func(context.Context, *lane) (figures, error) {
	name := fmt.Sprintf("up%d", conns)
	if down {
		name = fmt.Sprintf("down%d", conns)
	}
	return func(ctx context.Context, n *lane) (figures, error) {
		var o outcome
		c, err := n.load(func() (used time.Duration, err error) {
			o, used, err = n.blast(ctx, "-conns", fmt.Sprint(conns), fmt.Sprint("-down=", down), "-warmup", "300ms",
				"-duration", n.bench.plan.measure.String(), "bulk")
			return used, err
		})
		if err != nil {
			return nil, err
		}
		if o.Bytes == 0 {
			return nil, errNoRequests
		}
		gigabytes := o.Bytes / 1e9 / o.Seconds * c.wall.Seconds()
		return figures{name + ".gbps": o.Bytes * 8 / 1e9 / o.Seconds, name + ".cpu": c.pair.Seconds() / gigabytes}, nil
	}
}

func churn(ctx context.Context, n *lane) (figures, error) {
	f, _, err := closedLoop(ctx, n, func(d time.Duration) (outcome, time.Duration, error) {
		return n.blast(ctx, "-kind", string(n.kind), "-conns", "16", "-duration", d.String(), "churn")
	})
	return f, err
}

// mixed measures latencies at a fixed rate while one client downloads without end through the same pair.
func mixed(ctx context.Context, n *lane) (figures, error) {
	length := n.bench.plan.warmup + n.bench.plan.measure + time.Second
	var download outcome
	ended := make(chan error, 1)
	go func() {
		var err error
		download, _, err = n.blast(ctx, "-path", "/endless", "-duration", length.String(), "download")
		ended <- err
	}()
	f, err := steady("mixed", highShare, systems.HTTP)(ctx, n)
	if other := <-ended; err == nil {
		err = other
	}
	if err != nil {
		return nil, err
	}
	f["mixed.gbps"] = download.Bytes * 8 / 1e9 / download.Seconds
	return f, nil
}
