package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/systems"
)

// noiseLimit is the share of the machine that strangers may use during a measurement.
const noiseLimit = 0.03

// calibrate finds the throughput that the open-loop rates are shares of: the slowest production comparator's.
func (b *bench) calibrate(ctx context.Context) error {
	loads := map[systems.Kind]func(*lane) (outcome, time.Duration, error){
		systems.HTTP: func(n *lane) (outcome, time.Duration, error) { return n.wrk(ctx, "/200", 64, b.plan.warmup) },
		systems.GRPC: func(n *lane) (outcome, time.Duration, error) { return n.h2load(ctx, 4, 16, b.plan.warmup) },
	}
	for _, w := range b.workloads {
		if load, ok := loads[w.kind]; ok && w.paced && b.wanted(w) && b.rates[w.kind] == 0 {
			if err := b.calibrateKind(ctx, w.kind, load); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted says whether this run measures the workload.
func (b *bench) wanted(w workload) bool { return b.plan.all || b.options.workloads != "" || w.quick }

func (b *bench) calibrateKind(ctx context.Context, kind systems.Kind,
	load func(*lane) (outcome, time.Duration, error)) error {
	for _, s := range systems.All(b.options.config) {
		if s.Missing != "" || (s.Name != "haproxy" && s.Name != "nginx") {
			continue
		}
		n, err := b.open(ctx, s, shared, kind)
		if err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
		o, _, err := load(n)
		n.close()
		if err != nil {
			return fmt.Errorf("calibrate %s: %w", s.Name, err)
		}
		if rate := o.Requests / o.Seconds; b.rates[kind] == 0 || rate < b.rates[kind] {
			b.rates[kind] = rate
		}
	}
	if b.rates[kind] == 0 {
		return errors.New("calibrate: neither haproxy nor nginx is installed: run `make bench`, which installs them")
	}
	fmt.Printf("open-loop rates of %s are shares of %.0f requests a second\n", kind, b.rates[kind])
	return nil
}

// blocks measures everything, block by block; in a block each workload runs against all systems in a fresh order, so
// that whatever drifts on the machine meets all of them.
func (b *bench) blocks(ctx context.Context) error {
	order := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for block := range b.plan.blocks {
		for _, w := range b.workloads {
			if (w.once && block > 0) || !b.wanted(w) {
				continue
			}
			for _, i := range order.Perm(len(b.systems)) {
				if w.pod && b.systems[i].Plane == nil {
					continue
				}
				if time.Since(b.began) > b.plan.limit {
					fmt.Printf("stopped in block %d of %d: the run's time is over\n", block+1, b.plan.blocks)
					return nil
				}
				if err := b.cell(ctx, block, w, b.systems[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cell measures all phases of one workload on one system. A system that fails is recorded as failed and the run goes
// on: the others' figures are still true.
func (b *bench) cell(ctx context.Context, block int, w workload, s *systems.System) error {
	if s.Missing != "" {
		b.samples.skip(s.Name, s.Missing)
		return nil
	}
	for _, p := range w.phases {
		if p.full && !b.plan.all {
			continue
		}
		f, noise, err := b.phase(ctx, w, p, s)
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errInterrupted, context.Cause(ctx))
		}
		if err == nil && noise > noiseLimit && b.plan.all { // once more: strangers may be gone
			f, noise, err = b.phase(ctx, w, p, s)
		}
		if err != nil {
			fmt.Printf("block %d %-4s %-13s %-8s FAILED: %v\n", block+1, w.name, s.Name, p.layout.name, err)
			b.samples.fail(s.Name, w.name, err)
			continue
		}
		mark := ""
		if noise > noiseLimit {
			mark = fmt.Sprintf(" NOISY %.0f%%", 100*noise)
		}
		fmt.Printf("block %d %-4s %-13s %-8s %s%s\n", block+1, w.name, s.Name, p.layout.name, f, mark)
		b.samples.add(block, w.name, s.Name, p.layout.name, f, noise > noiseLimit)
	}
	return nil
}

// phase measures one phase, in bounded time: a system that hangs must not end the run.
func (b *bench) phase(ctx context.Context, w workload, p phase, s *systems.System) (figures, float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second+2*(b.plan.warmup+b.plan.measure+b.plan.pause)+p.extra)
	defer cancel()
	n, err := b.open(ctx, s, p.layout, w.kind)
	if err != nil {
		return nil, 0, err
	}
	defer n.close()
	f, err := p.measure(ctx, n)
	if err == nil {
		err = n.watched(f)
	}
	return f, n.noise, err
}
