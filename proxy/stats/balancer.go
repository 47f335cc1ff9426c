package stats

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Balancer counts the requests of all balancers that share its labels: a Service may have several addresses. A nil
// Balancer counts nothing. Its methods may be called by several goroutines and allocate nothing.
type Balancer struct {
	labels  Labels
	tcp     bool
	timeout time.Duration

	updates [len(changes)]atomic.Uint64
	passed  atomic.Uint64 // requests that did not wait
	stopped atomic.Uint64 // requests that waited
	waiting atomic.Int64  // requests that are waiting now
	waited  durations     // time in the queue of those that no longer wait

	mu     sync.Mutex // guards the fields below
	states []*func() Endpoints
	gate   gate
	opened uint64 // how often the gate opened
	shut   uint64
}

// gate is shut after a request waited and found no endpoint, until an endpoint is ready. since is the last change.
type gate struct {
	shut  bool
	since time.Time
}

// Endpoints is the number of endpoints of a balancer in each state. Pending includes the Ejected ones.
type Endpoints struct{ Ready, Pending, Ejected int }

// Change is the effect of an update on a balancer's endpoints.
type Change uint8

// The changes, in Linkerd's words: endpoints were added, removed, or both. A balancer begins with a Reset.
const (
	Reset Change = iota
	Add
	Remove
)

var changes = [...]Labels{Reset: `op="Reset"`, Add: `op="Add"`, Remove: `op="Remove"`}

// queueBounds are the bounds of the buckets of the time in the queue, as Linkerd has them.
var queueBounds = []time.Duration{
	500 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond, time.Second,
	3 * time.Second,
}

// BalancerConfig describes a new balancer.
type BalancerConfig struct {
	Labels Labels
	// TCP means that it balances connections, and not HTTP requests.
	TCP bool
	// Timeout is the longest time that a request waits for an endpoint.
	Timeout time.Duration
	// States is called at each scrape.
	States func() Endpoints
}

// Balancer returns the group that counts for a balancer. The balancer's endpoints are in scrapes until release is
// called; see HTTP.
func (r *Registry) Balancer(c BalancerConfig) (g *Balancer, release func()) {
	kind := balancerGroup
	if c.TCP {
		kind = tcpBalancerGroup
	}
	b, releaseGroup := acquire(r, kind, c.Labels, func(l Labels, _ room) *Balancer {
		return &Balancer{labels: l, tcp: c.TCP, timeout: c.Timeout, gate: gate{since: time.Now()}, opened: 1}
	})
	b.mu.Lock()
	b.states = append(b.states, &c.States)
	b.mu.Unlock()
	b.updates[Reset].Add(1)
	return b, sync.OnceFunc(func() {
		b.mu.Lock()
		b.states = slices.DeleteFunc(b.states, func(s *func() Endpoints) bool { return s == &c.States })
		b.mu.Unlock()
		releaseGroup()
	})
}

// Pass counts a request, or an attempt of one, that found an endpoint at once.
func (b *Balancer) Pass() {
	if b != nil {
		b.passed.Add(1)
	}
}

// Enqueue counts a request, or an attempt of one, that begins to wait for an endpoint. Dequeue must follow.
func (b *Balancer) Enqueue() {
	if b != nil {
		b.stopped.Add(1)
		b.waiting.Add(1)
	}
}

// Dequeue counts that a request no longer waits, for any reason; d is how long it has.
func (b *Balancer) Dequeue(d time.Duration) {
	if b != nil {
		b.waiting.Add(-1)
		b.waited.observe(queueBounds, d)
	}
}

// FailFast notes that a request waited and found no endpoint. Later requests will also find none until an endpoint is
// ready.
func (b *Balancer) FailFast() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gate.shut {
		b.gate = gate{shut: true, since: time.Now()}
		b.shut++
	}
}

// Update counts a change of the endpoints; endpoints is their number after it.
func (b *Balancer) Update(c Change, endpoints int) {
	if b == nil {
		return
	}
	b.updates[c].Add(1)
	if endpoints == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gate.shut {
		b.gate = gate{since: time.Now()}
		b.opened++
	}
}

// endpoints returns the sum over the balancers; ok is false if there are none left.
func (b *Balancer) endpoints() (all Endpoints, ok bool) {
	b.mu.Lock()
	list := slices.Clone(b.states)
	b.mu.Unlock()
	for _, states := range list {
		s := (*states)()
		all.Ready, all.Pending, all.Ejected = all.Ready+s.Ready, all.Pending+s.Pending, all.Ejected+s.Ejected
	}
	return all, len(list) > 0
}

func (b *Balancer) collect(f id, w *writer) {
	if f == balancerEjected && !b.tcp {
		if all, ok := b.endpoints(); ok {
			w.value(f, b.labels, uint64(all.Ejected))
		}
		return
	}
	kind := f
	if b.tcp {
		kind = f - tcpBalancerEndpoints + balancerEndpoints
	}
	if kind < balancerEndpoints || kind > gateTimeout {
		return
	}
	switch kind {
	case balancerEndpoints, balancerP2C:
		b.collectEndpoints(f, kind, w)
	case balancerUpdates:
		for c := range changes {
			w.value(f, b.labels.Join(changes[c]), b.updates[c].Load())
		}
	case queueLength:
		w.value(f, b.labels, uint64(max(b.waiting.Load(), 0)))
	case queueRequests:
		w.value(f, b.labels, b.passed.Load()+b.stopped.Load())
	case queueLatency:
		b.collectLatency(f, w)
	default:
		b.collectGate(f, kind, w)
	}
}

func (b *Balancer) collectEndpoints(f, kind id, w *writer) {
	all, ok := b.endpoints()
	switch {
	case !ok:
	case kind == balancerP2C:
		w.value(f, b.labels, uint64(all.Ready+all.Pending))
	default:
		w.value(f, b.labels.With("endpoint_state", "ready"), uint64(all.Ready))
		w.value(f, b.labels.With("endpoint_state", "pending"), uint64(all.Pending))
	}
}

// collectLatency writes the time in the queue. It is 0 for requests that passed: they are not timed.
func (b *Balancer) collectLatency(f id, w *writer) {
	var all durations
	for i := range all.buckets {
		all.buckets[i].Store(b.waited.buckets[i].Load())
	}
	all.buckets[0].Add(b.passed.Load())
	all.micros.Store(b.waited.micros.Load())
	all.collect(f, b.labels, queueBounds, w)
}

func (b *Balancer) collectGate(f, kind id, w *writer) {
	b.mu.Lock()
	g, open, shut := b.gate, b.opened, b.shut
	b.mu.Unlock()
	opened, closed := float64(g.since.UnixMilli())/1000, 0.0
	if g.shut {
		opened, closed = closed, opened
	}
	switch kind {
	case gateOpen:
		w.value(f, b.labels, open)
	case gateShut:
		w.value(f, b.labels, shut)
	case gateOpenTime:
		w.float(f, b.labels, opened)
	case gateShutTime:
		w.float(f, b.labels, closed)
	case gateTimeout:
		w.float(f, b.labels, b.timeout.Seconds())
	}
}

// series returns five series for endpoints, three for kinds of update, two counts of the queue with its latency, and
// five for the gate.
func (b *Balancer) series() int { return 5 + len(changes) + 2 + durationSeries(queueBounds) + 5 }

// open reports whether a request waits for an endpoint.
func (b *Balancer) open() bool { return b.waiting.Load() > 0 }

func (b *Balancer) activity() uint64 {
	n := b.passed.Load() + b.stopped.Load() + b.waited.count()
	for c := range b.updates {
		n += b.updates[c].Load()
	}
	return n
}
