package stats

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/clock"
)

// idleTime is how long a group without a holder and without change stays. Source: Linkerd's proxy.
const idleTime = 10 * time.Minute

// Registry holds all series of a proxy, within the bounds of bound.go. Its methods may be called by several goroutines.
type Registry struct {
	limits [sides]cost

	mu             sync.Mutex // guards the fields below
	entries        map[seriesKey]*entry
	spent          [sides]cost   // by the entries that are in scrapes
	uses           uint64        // number of acquisitions and releases so far
	lastFailedScan [sides]uint64 // uses at the last search that found too little to evict
	now            clock.Instant
	funcs          []function
}

// seriesKey identifies the label set of a group or a counter.
type seriesKey struct {
	kind   groupKind
	family id // the first family, if it is a group
	labels Labels
}

// groupKind distinguishes groups that may have the same labels.
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
	counterGroup
)

// firstFamily is the first metric of each kind of group. It names the kind in the metrics about the registry.
var firstFamily = [...]id{
	httpGroup: requestTotal, tcpGroup: tcpOpenTotal, namedGroup: routeRequestTotal, actualGroup: routeActualRequestTotal,
	httpRouteGroup: httpRouteStatuses, grpcRouteGroup: grpcRouteStatuses, httpBackendGroup: httpBackendRequests,
	grpcBackendGroup: grpcBackendRequests, balancerGroup: balancerEndpoints, tcpBalancerGroup: tcpBalancerEndpoints,
	inboundHTTPGroup: inboundHTTPRequests, inboundGRPCGroup: inboundGRPCRequests, controlGroup: controlRequestTotal,
}

type function struct {
	family id
	labels Labels
	value  func() float64
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{limits: limits, entries: map[seriesKey]*entry{}}
}

// HTTP returns the group that counts requests under the labels; calls with equal labels return the same group. Call
// release when this caller will not use the group again. The group stays for some time, so that its last counts are
// scraped.
func (r *Registry) HTTP(labels Labels) (g *HTTP, release func()) {
	return acquire(r, httpGroup, labels, newHTTP(requestTotal, responseTotal, responseLatency))
}

// Control returns the group that counts questions to a part of the control plane. The group stays for ever.
func (r *Registry) Control(labels Labels) *HTTP {
	g, _ := acquire(r, controlGroup, labels, newHTTP(controlRequestTotal, controlResponseTotal, controlResponseLatency))
	return g
}

// TCP returns the group that counts connections under the labels; see HTTP.
func (r *Registry) TCP(labels Labels) (g *TCP, release func()) {
	return acquire(r, tcpGroup, labels, func(l Labels, _ room) *TCP { return &TCP{labels: l} })
}

// acquire returns the group of a kind and labels. It calls create if there is none.
func acquire[G group](r *Registry, kind groupKind, labels Labels, create func(Labels, room) G) (g G, release func()) {
	k := seriesKey{kind, firstFamily[kind], labels}
	e := r.acquire(k, func(k seriesKey, m room) group { return create(k.labels, m) })
	return e.group.(G), sync.OnceFunc(func() { r.release(e) })
}

func (r *Registry) acquire(k seriesKey, create func(seriesKey, room) group) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(k, create)
	e.holders++
	e.acquired++
	r.use(e)
	return e
}

func (r *Registry) release(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.holders--
	e.idleSince = r.now
	r.use(e)
	if e.holders == 0 && !e.shown {
		r.forget(e)
	}
}

func (r *Registry) use(e *entry) {
	r.uses++
	e.used = r.uses
}

// entry returns the entry of k, and makes it if there is room. Otherwise it returns the entry that counts for all label
// sets without room.
func (r *Registry) entry(k seriesKey, create func(seriesKey, room) group) *entry {
	if e := r.entries[k]; e != nil {
		return e
	}
	e := &entry{key: k, side: k.side()}
	e.group = create(k, room{r, e})
	e.cost = costOf(k.labels, e.group.series())
	if !r.show(e) {
		r.overflowed(k)
		return r.entry(k.folded(), create)
	}
	r.entries[k] = e
	return e
}

// forget drops an entry.
func (r *Registry) forget(e *entry) {
	if e.shown {
		r.hide(e)
	}
	if r.entries[e.key] == e {
		delete(r.entries, e.key)
	}
}

// Sweep drops the groups that have no holder and have not changed for ten minutes. Counters stay, so that the first
// error in a week shows as an increase. now is the caller's monotonic clock. Call Sweep about once a minute.
func (r *Registry) Sweep(now clock.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
	r.showChanged()
	for _, e := range r.entries {
		if e.look(now) || e.holders > 0 {
			e.idleSince = now
			continue
		}
		if now.Sub(e.idleSince) >= idleTime && e.key.kind != counterGroup {
			r.forget(e)
		}
	}
}

// Counter is a single series that only increases.
type Counter struct {
	n      atomic.Uint64
	family id
	labels Labels
}

func newCounter(k seriesKey, _ room) group { return &Counter{family: k.family, labels: k.labels} }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Value returns the count.
func (c *Counter) Value() uint64 { return c.n.Load() }

func (c *Counter) collect(f id, w *writer) {
	if f == c.family {
		w.value(f, c.labels, c.Value())
	}
}

func (c *Counter) activity() uint64 { return c.Value() }
func (c *Counter) series() int      { return 1 }

// Counter returns the series of a family without groups; calls with equal labels return the same series. Call release
// when this caller will not use the counter again. It panics if there is no such family.
func (r *Registry) Counter(family string, labels Labels) (c *Counter, release func()) {
	e := r.acquire(seriesKey{counterGroup, lookup(family), labels}, newCounter)
	return e.group.(*Counter), sync.OnceFunc(func() { r.release(e) })
}

// Inc adds one to the series of a family without groups.
func (r *Registry) Inc(family string, labels Labels) {
	k := seriesKey{counterGroup, lookup(family), labels}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(k, newCounter)
	e.acquired++
	r.use(e)
	e.group.(*Counter).Inc()
}

// Func adds a series whose value each scrape gets from value. It panics if there is no such family.
func (r *Registry) Func(family string, labels Labels, value func() float64) {
	f := lookup(family)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.funcs = append(r.funcs, function{f, labels, value})
}

// snapshot is what a scrape reads without the lock of the registry.
type snapshot struct {
	groups   []group
	counters map[id][]group
	funcs    []function
}

func (r *Registry) snapshot() snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.showChanged()
	s := snapshot{
		groups:   make([]group, 0, len(r.entries)),
		counters: make(map[id][]group, len(families)),
		funcs:    slices.Clone(r.funcs),
	}
	for _, e := range r.entries {
		if !e.shown {
			continue
		}
		e.scraped = e.group.activity()
		g := e.group
		if e.base != nil {
			g = rebased{g, e.base}
		}
		if c, ok := e.group.(*Counter); ok {
			s.counters[c.family] = append(s.counters[c.family], g)
		} else {
			s.groups = append(s.groups, g)
		}
	}
	return s
}
