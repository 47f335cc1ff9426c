package stats

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// idleTime is how long a group without a holder and without change is kept. Source: Linkerd's proxy.
	idleTime = 10 * time.Minute
	// maxGroups bounds the groups: 2 000 endpoints with their connections and requests, and 4 MiB at most. What comes beyond is
	// counted in one group without labels of its own.
	maxGroups = 4000
	// maxSingles bounds the counters of their own in the same way: labels name ports and peers, and a stranger may try every port.
	maxSingles = 4000
)

// Registry holds every series of a proxy. Its methods may be used by several goroutines.
type Registry struct {
	mu      sync.Mutex // guards the fields below
	groups  map[groupKey]*entry
	singles map[singleKey]*Counter
	funcs   []function

	overflow *Counter
}

type groupKey struct {
	kind   groupKind
	labels Labels
}

// groupKind tells groups apart that may have the same labels.
type groupKind uint8

const (
	httpGroup groupKind = iota
	tcpGroup
	namedGroup
	actualGroup
	httpRouteGroup
	grpcRouteGroup
	httpBackendGroup
	grpcBackendGroup
	balancerGroup
	tcpBalancerGroup
	inboundHTTPGroup
	inboundGRPCGroup
	controlGroup
)

type singleKey struct {
	family id
	labels Labels
}

// entry is a group and its holders. Its fields are guarded by Registry.mu.
type entry struct {
	group   group
	holders int
	seen    uint64 // activity at the last sweep
	since   time.Duration
}

type function struct {
	family id
	labels Labels
	value  func() float64
}

// Counter is a series of its own.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Value returns the count.
func (c *Counter) Value() uint64 { return c.n.Load() }

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	r := &Registry{groups: map[groupKey]*entry{}, singles: map[singleKey]*Counter{}}
	r.overflow = r.Counter("tulle_metrics_overflow_total", "")
	return r
}

// HTTP returns the group that counts requests under the labels; calls with equal labels share one. Call release when nobody will add
// to it through this handle any more: the group is kept for some time, so that its last counts are scraped.
func (r *Registry) HTTP(labels Labels) (g *HTTP, release func()) {
	families := [3]id{requestTotal, responseTotal, responseLatency}
	e := r.hold(groupKey{httpGroup, labels}, func(l Labels) group { return &HTTP{labels: l, families: families} })
	return e.group.(*HTTP), sync.OnceFunc(func() { r.release(e) })
}

// Control returns the group that counts questions to a part of the control plane; it is kept for ever.
func (r *Registry) Control(labels Labels) *HTTP {
	families := [3]id{controlRequestTotal, controlResponseTotal, controlResponseLatency}
	e := r.hold(groupKey{controlGroup, labels}, func(l Labels) group { return &HTTP{labels: l, families: families} })
	return e.group.(*HTTP)
}

// TCP returns the group that counts connections under the labels; see HTTP.
func (r *Registry) TCP(labels Labels) (g *TCP, release func()) {
	e := r.hold(groupKey{tcpGroup, labels}, func(l Labels) group { return &TCP{labels: l} })
	return e.group.(*TCP), sync.OnceFunc(func() { r.release(e) })
}

func (r *Registry) hold(k groupKey, make func(Labels) group) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.groups[k]
	if !ok && len(r.groups) >= maxGroups {
		r.overflow.Inc()
		k.labels = Labels("").With("overflow", "true")
		e, ok = r.groups[k]
	}
	if !ok {
		e = &entry{group: make(k.labels)}
		r.groups[k] = e
	}
	e.holders++
	return e
}

func (r *Registry) release(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.holders--
}

// Sweep drops the groups that nobody holds and that have not changed for ten minutes. now is the caller's monotonic clock; call it
// about once a minute.
func (r *Registry) Sweep(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, e := range r.groups {
		if a := e.group.activity(); a != e.seen || e.holders > 0 {
			e.seen, e.since = a, now
			continue
		}
		if now-e.since >= idleTime {
			delete(r.groups, k)
		}
	}
}

// Counter returns the series of a family that has no groups; equal labels share one, and beyond the bound all do. It panics if there is
// no such family.
func (r *Registry) Counter(family string, labels Labels) *Counter {
	k := singleKey{lookup(family), labels}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.singles[k]
	if !ok && len(r.singles) >= maxSingles {
		r.overflow.Inc()
		k.labels = Labels("").With("overflow", "true")
		c, ok = r.singles[k]
	}
	if !ok {
		c = &Counter{}
		r.singles[k] = c
	}
	return c
}

// Func adds a series whose value is asked for at each scrape. It panics if there is no such family.
func (r *Registry) Func(family string, labels Labels, value func() float64) {
	f := lookup(family)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.funcs = append(r.funcs, function{f, labels, value})
}

// snapshot is what a scrape walks over without holding the registry.
type snapshot struct {
	groups  []group
	singles map[id][]single
	funcs   []function
}

type single struct {
	labels  Labels
	counter *Counter
}

func (r *Registry) snapshot() snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := snapshot{
		groups:  make([]group, 0, len(r.groups)),
		singles: make(map[id][]single, len(families)),
		funcs:   slices.Clone(r.funcs),
	}
	for _, e := range r.groups {
		s.groups = append(s.groups, e.group)
	}
	for k, c := range r.singles {
		s.singles[k.family] = append(s.singles[k.family], single{k.labels, c})
	}
	return s
}
