package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/lab"
)

// memory is what the pair holds together.
func (n *lane) memory() lab.Memory {
	var m lab.Memory
	for _, p := range n.pair {
		of := p.Memory()
		m.Anonymous += of.Anonymous
		m.Resident += of.Resident
	}
	return m
}

// rest waits without load.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// idle is what one proxy of the pair holds while nothing happens, and the CPU that it uses meanwhile.
func idle(ctx context.Context, n *lane) (figures, error) {
	if len(n.pair) == 0 {
		return figures{}, nil
	}
	if err := rest(ctx, n.bench.plan.pause); err != nil {
		return nil, err
	}
	c, err := n.load(func() (time.Duration, error) { return 0, rest(ctx, n.bench.plan.pause) })
	if err != nil {
		return nil, err
	}
	m, count := n.memory(), float64(len(n.pair))
	return figures{"rss_anon": float64(m.Anonymous) / count, "rss": float64(m.Resident) / count,
		"idle_cpu": float64(c.pair) / float64(c.wall) * 1000 / count}, nil
}

// hold is what the pair grows by for each connection that had one exchange and is idle since.
func hold(ctx context.Context, n *lane) (figures, error) {
	const conns = 4000 // enough that what a pair sets up once does not count
	before := n.memory()
	release, err := n.hold(ctx, "-kind", string(n.kind), "-conns", fmt.Sprint(conns), "hold")
	if err != nil {
		return nil, err
	}
	err = rest(ctx, 2*n.bench.plan.pause)
	after := n.memory()
	if err := release(); err != nil {
		return nil, fmt.Errorf("hold connections: %w", err)
	}
	return figures{"per_connection": float64(after.Resident-before.Resident) / conns}, err
}

// stall is what the pair grows by when 64 clients stop reading.
func stall(ctx context.Context, n *lane) (figures, error) {
	before := n.memory()
	release, err := n.hold(ctx, "-path", "/endless", "-conns", "64", "stall")
	if err != nil {
		return nil, err
	}
	err = rest(ctx, n.bench.plan.pause)
	after := n.memory()
	if err := release(); err != nil {
		return nil, fmt.Errorf("stall readers: %w", err)
	}
	return figures{"growth": float64(after.Resident - before.Resident)}, err
}
