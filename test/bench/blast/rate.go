package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// slot can carry one request at a time.
type slot interface {
	// send starts a request; the generator's answered or failed is called once later.
	send() error
}

// generator sends requests at the times of a Poisson process, whatever the answers do: a request that finds no free
// slot waits, and its latency counts from when it was due.
type generator struct {
	loop     *poll.Loop
	idle     []slot
	due      map[slot]time.Time
	waiting  []time.Time
	from     time.Time // answers to requests due before are not counted
	samples  []sample
	result   Result
	late     int64
	failure  error
	inflight int
}

// sample is one answer.
type sample struct {
	due     time.Time
	latency time.Duration
}

func newGenerator(loop *poll.Loop) *generator {
	return &generator{loop: loop, due: map[slot]time.Time{}}
}

func runRate(c config, loop *poll.Loop) (Result, error) {
	g := newGenerator(loop)
	if err := g.open(c); err != nil {
		return Result{}, err
	}
	var watch *watch
	if c.watched {
		var err error
		if watch, err = startWatch(); err != nil {
			return Result{}, fmt.Errorf("start watch: %w", err)
		}
	}
	slots := len(g.idle)
	g.samples = make([]sample, 0, int(1.1*c.rate*c.duration.Seconds())+1000)
	// One seed for every system: all see the same arrivals.
	arrivals := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	g.from = start.Add(c.warmup)
	end := g.from.Add(c.duration)
	next := start
	for g.failure == nil && next.Before(end) {
		now := time.Now()
		if now.Before(next) {
			if err := loop.Wait(next.Sub(now)); err != nil {
				return Result{}, err
			}
			continue
		}
		g.arrive(next, now)
		next = next.Add(time.Duration(arrivals.ExpFloat64() / c.rate * float64(time.Second)))
	}
	for deadline := end.Add(2 * time.Second); g.failure == nil && g.inflight > 0 && time.Now().Before(deadline); {
		if err := loop.Wait(time.Until(deadline)); err != nil {
			return Result{}, err
		}
	}
	if g.failure != nil {
		return Result{}, fmt.Errorf("%d slots: %w", slots, g.failure)
	}
	g.result.Failed += int64(g.inflight)
	g.result.Seconds = c.duration.Seconds()
	g.result.Late = float64(g.late) / float64(max(1, g.result.Requests))
	stood, err := watch.stop()
	if err != nil {
		return Result{}, err
	}
	g.summarize(stood)
	return g.result, nil
}

func (g *generator) open(c config) error {
	for range c.conns {
		var slots []slot
		var err error
		if c.kind == "grpc" {
			slots, err = dialGRPC(g.loop, c, g)
		} else {
			slots, err = dialHTTP(g.loop, c, g)
		}
		if err != nil {
			return err
		}
		g.idle = append(g.idle, slots...)
	}
	return nil
}

func (g *generator) arrive(due, now time.Time) {
	g.inflight++
	if due.After(g.from) && now.Sub(due) > 200*time.Microsecond {
		g.late++
	}
	if len(g.idle) == 0 {
		g.waiting = append(g.waiting, due)
		return
	}
	s := g.idle[0]
	g.idle = append(g.idle[:0], g.idle[1:]...)
	g.start(s, due)
}

func (g *generator) start(s slot, due time.Time) {
	g.due[s] = due
	if err := s.send(); err != nil {
		g.failed(err)
	}
}

// answered records the answer of the request that s carried.
func (g *generator) answered(s slot) {
	due := g.due[s]
	g.inflight--
	if due.After(g.from) {
		g.result.Requests++
		g.samples = append(g.samples, sample{due: due, latency: time.Since(due)})
	}
	if len(g.waiting) > 0 {
		due := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.start(s, due)
		return
	}
	g.idle = append(g.idle, s)
}

// summarize computes the percentiles: of all answers, and of those to requests that were due while the machine ran.
func (g *generator) summarize(stood stalls) {
	var all, calm []time.Duration
	for _, s := range g.samples {
		all = append(all, s.latency)
		if !stood.near(s.due) {
			calm = append(calm, s.latency)
		}
	}
	g.result.Calm = float64(len(calm)) / float64(max(1, len(all)))
	g.result.P99Raw = percentile(all, 0.99)
	g.result.P50, g.result.P99, g.result.P999 = percentile(calm, 0.5), percentile(calm, 0.99), percentile(calm, 0.999)
}

// percentile returns the latency in microseconds that the given share does not exceed, 0 of none; it sorts.
func percentile(latencies []time.Duration, share float64) float64 {
	if len(latencies) == 0 {
		return 0
	}
	slices.Sort(latencies)
	rank := int(math.Ceil(share * float64(len(latencies))))
	return float64(latencies[max(rank-1, 0)]) / float64(time.Microsecond)
}

// failed ends the run: no system may lose a request.
func (g *generator) failed(err error) {
	if g.failure == nil {
		g.failure = err
	}
}
