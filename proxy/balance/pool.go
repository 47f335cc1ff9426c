// Package balance chooses one of a target's endpoints for a request or a connection.
//
// It owns the choice, the back-off of endpoints after a failed connection, and the ejection of those that keep failing.
// The choice is power of two choices by peak-EWMA latency and requests in flight. It imports mesh, internal/backoff,
// proxy/clock and the standard library only. It dials nothing and never reads a clock. The one idea: an endpoint is 64
// bytes in a flat slice. Ten thousand of them fit in a cache, and a choice reads two.
package balance

import (
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

// Linkerd's balancer has the same numbers.
const (
	// DefaultRTT is the assumed latency of an endpoint without a measurement.
	DefaultRTT = 30 * time.Millisecond
	// Decay is the time in which an old measurement loses most of its weight (1/e is left).
	Decay = 10 * time.Second
	// MinBackoff and MaxBackoff bound the back-off of an endpoint after a failed connection.
	MinBackoff = 100 * time.Millisecond
	MaxBackoff = 60 * time.Second
)

// Endpoint is the input of Pool.Update for one endpoint. Key is unique in the pool.
type Endpoint[T any] struct {
	Key    netip.AddrPort
	Weight uint32 // relative to the others; 0 counts as 1
	Item   T      // what Pick returns
}

// Slot names an endpoint of a Pool from Pick to Done, even if an Update removes the endpoint in between.
type Slot struct {
	index      int32
	generation uint32
	probe      bool // the attempt probes an ejected endpoint
}

// slot is the state of one endpoint. Times are nanoseconds on the caller's monotonic clock.
type slot struct {
	ewma       float64 // nanoseconds, at the time stamp
	stamp      int64
	retryAt    int64 // the end of the back-off; until then it is picked only if all others are in back-off too
	backoff    int64 // 0: the last connection succeeded; if ejected: the penalty
	inflight   int32
	weight     float32
	generation uint32
	item       int32  // index in the list of the last Update; -1: removed, and freed when nothing is in flight
	failures   uint32 // in a row
	ejected    bool
	_          [8]byte
}

// Pool balances over a changing list of endpoints, each with an item T. Its methods may be called by several
// goroutines. The zero Pool has no endpoints.
type Pool[T any] struct {
	mu    sync.Mutex // guards the fields below; locked for nanoseconds, never during a wait
	slots []slot
	keys  map[netip.AddrPort]int32 // of the slots in use
	live  []int32                  // slots of the last Update's list
	items []T                      // of the same list
	free  []int32
	rng   uint64

	accrual *mesh.Accrual // nil: no endpoint is ejected
	ejected int           // number of ejected endpoints in live
	windows []window      // one for each slot, or fewer; empty unless the success rate counts
}

// Update replaces the list of endpoints. Endpoints in both lists keep their state. Keys must differ.
func (p *Pool[T]) Update(endpoints []Endpoint[T], now clock.Instant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.live
	for _, i := range before {
		p.slots[i].item = -1
	}
	if p.keys == nil {
		p.keys = make(map[netip.AddrPort]int32, len(endpoints))
	}
	p.live = make([]int32, len(endpoints))
	p.items = make([]T, len(endpoints))
	for item, e := range endpoints {
		i, known := p.keys[e.Key]
		if !known {
			i = p.take(now)
			p.keys[e.Key] = i
		}
		p.slots[i].item = int32(item)
		p.slots[i].weight = float32(max(e.Weight, 1))
		p.live[item] = i
		p.items[item] = e.Item
	}
	if len(p.keys) > len(endpoints) {
		for key, i := range p.keys {
			if p.slots[i].item < 0 {
				delete(p.keys, key)
				p.release(i)
			}
		}
	}
	p.trim()
}

func (p *Pool[T]) take(now clock.Instant) int32 {
	fresh := slot{ewma: float64(DefaultRTT), stamp: int64(now)}
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		fresh.generation = p.slots[i].generation
		p.slots[i] = fresh
		if int(i) < len(p.windows) {
			p.windows[i] = window{}
		}
		return i
	}
	p.slots = append(p.slots, fresh)
	return int32(len(p.slots) - 1)
}

// release frees a removed slot as soon as nothing is in flight on it.
func (p *Pool[T]) release(i int32) {
	if s := &p.slots[i]; s.item < 0 && s.inflight == 0 {
		s.generation++
		p.free = append(p.free, i)
	}
}

// Len returns the number of endpoints.
func (p *Pool[T]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// Pick chooses an endpoint and counts it as in flight until Done. Endpoints in back-off are skipped. If all are in
// back-off, the one whose back-off ends first is chosen. ok is false when there are no endpoints.
func (p *Pool[T]) Pick(now clock.Instant) (chosen Slot, item T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pick(now, -1)
}

// PickOther is Pick for a request that has just failed at endpoint than. Quick failures make an endpoint look idle, so
// PickOther returns it only if every other one is in back-off.
func (p *Pool[T]) PickOther(now clock.Instant, than Slot) (chosen Slot, item T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	avoid := than.index
	if int(avoid) >= len(p.slots) || p.slots[avoid].generation != than.generation {
		avoid = -1 // the endpoint was removed
	}
	return p.pick(now, avoid)
}

func (p *Pool[T]) pick(now clock.Instant, avoid int32) (chosen Slot, item T, ok bool) {
	n := len(p.live)
	if n == 0 {
		return Slot{}, item, false
	}
	best := p.live[p.random(n)]
	if n > 1 {
		second := p.other(best, n)
		switch avoid {
		case best:
			best = second
		case second:
			second = best
		}
		best = p.better(best, second, int64(now))
		if p.slots[best].retryAt > int64(now) {
			best = p.scan(int64(now))
		}
	}
	s := &p.slots[best]
	if s.backoff > 0 { // this attempt is the probe; other requests wait for its result, but not for the sum of many
		s.retryAt = min(max(s.retryAt, int64(now))+s.backoff, int64(now)+max(s.backoff, int64(MaxBackoff)))
	}
	s.inflight++
	return Slot{index: best, generation: s.generation, probe: s.ejected}, p.items[s.item], true
}

// other draws an endpoint different from i.
func (p *Pool[T]) other(i int32, n int) int32 {
	k := p.random(n - 1)
	if p.live[k] == i {
		return p.live[n-1]
	}
	return p.live[k]
}

func (p *Pool[T]) better(a, b int32, now int64) int32 {
	sa, sb := &p.slots[a], &p.slots[b]
	if away := sa.retryAt > now; away != (sb.retryAt > now) {
		if away {
			return b
		}
		return a
	}
	if p.ejected > 0 && sa.ejected != sb.ejected { // a probe must not wait until its endpoint has the lower load
		if sa.ejected {
			return a
		}
		return b
	}
	if sa.load(now) <= sb.load(now) {
		return a
	}
	return b
}

// scan returns an endpoint that is not in back-off, otherwise the one whose back-off ends first. It starts at a random
// endpoint.
func (p *Pool[T]) scan(now int64) int32 {
	start := p.random(len(p.live))
	best := p.live[start]
	for k := range p.live {
		i := p.live[(start+k)%len(p.live)]
		if p.slots[i].retryAt <= now {
			return i
		}
		if p.slots[i].retryAt < p.slots[best].retryAt {
			best = i
		}
	}
	return best
}

// load returns the cost of one more request: latency times the requests in flight, divided by the weight.
func (s *slot) load(now int64) float64 {
	return s.ewma * decay(now-s.stamp) * float64(s.inflight+1) / float64(s.weight)
}

// decay returns exp(-age/Decay). Below 1/64 of Decay it returns the first-order term, which is cheap and exact to a
// part in ten thousand.
func decay(age int64) float64 {
	x := float64(max(age, 0)) / float64(Decay)
	if x < 1.0/64 {
		return 1 - x
	}
	return math.Exp(-x)
}

// AttemptResult is what became of an attempt at the endpoint that Pick chose.
type AttemptResult uint8

// The results. Only Responded, Shed and Failed carry a latency.
const (
	// Abandoned says nothing about the endpoint: the client went away.
	Abandoned AttemptResult = iota
	// Responded means that the endpoint answered.
	Responded
	// Connected means that the endpoint accepted a connection or a request. Its latency has no meaning.
	Connected
	// Unreachable means that the connection failed. The endpoint's back-off begins.
	Unreachable
	// Shed means that the endpoint responded that it is overloaded. It works, but its quick response must not attract
	// more requests.
	Shed
	// Failed means that the endpoint responded with a failure, or not in time. Its latency stays, so that a quick
	// failure does not make it look fast.
	Failed
)

// Done ends the attempt that Pick began. latency is used with the results that carry one.
func (p *Pool[T]) Done(chosen Slot, result AttemptResult, now clock.Instant, latency time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.slots[chosen.index]
	if s.generation != chosen.generation {
		return // a second Done for one Pick: the slot has another endpoint now
	}
	s.inflight--
	switch result {
	case Abandoned:
		switch {
		case chosen.probe && s.ejected: // the probe has no result: the next request is the probe
			s.retryAt = int64(now)
		case s.backoff > 0 && !s.ejected: // Pick has put the end off, and there is no result that could set it
			s.retryAt = min(s.retryAt, int64(now)+s.backoff)
		}
	case Failed:
		s.observe(int64(now), max(float64(latency), s.ewma))
		if !s.ejected { // the connection succeeded
			s.backoff, s.retryAt = 0, 0
		}
		p.evaluate(chosen, true, int64(now))
	case Responded, Connected, Shed:
		switch {
		case result == Connected:
		case result == Shed:
			s.observe(int64(now), max(float64(latency), s.ewma))
		case chosen.probe && s.ejected: // the latency from before the ejection is outdated
			s.ewma, s.stamp = float64(latency), int64(now)
		default:
			s.observe(int64(now), float64(latency))
		}
		p.evaluate(chosen, false, int64(now))
		if !s.ejected {
			s.backoff, s.retryAt = 0, 0
		}
	case Unreachable:
		if p.evaluate(chosen, true, int64(now)); s.ejected {
			break
		}
		s.backoff = backoff.Double(s.backoff, int64(MinBackoff), int64(MaxBackoff))
		jitter := int64(p.random(int(s.backoff/2) + 1))
		s.retryAt = int64(now) + s.backoff - jitter
	}
	p.release(chosen.index)
}

// observe raises the average to a peak at once, and lowers it slowly. Source: Finagle's and Linkerd's peak-EWMA.
func (s *slot) observe(now int64, latency float64) {
	w := decay(now - s.stamp)
	s.stamp = now
	s.ewma *= w
	if latency > s.ewma {
		s.ewma = latency
		return
	}
	s.ewma += latency * (1 - w)
}

// random returns a number in [0, n), by xorshift.
func (p *Pool[T]) random(n int) int {
	if p.rng == 0 {
		p.rng = 0x9E3779B97F4A7C15
	}
	p.rng ^= p.rng << 13
	p.rng ^= p.rng >> 7
	p.rng ^= p.rng << 17
	hi, _ := bits.Mul64(p.rng, uint64(n))
	return int(hi)
}

// Available returns the number of endpoints that are not in back-off.
func (p *Pool[T]) Available(now clock.Instant) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, i := range p.live {
		if p.slots[i].retryAt <= int64(now) {
			n++
		}
	}
	return n
}

// Seed seeds the pool's random choices. Proxies that start together would otherwise choose the same endpoints.
func (p *Pool[T]) Seed(seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rng = seed | 1
}
