package outbound

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Source is where the proxy learns what serves an address and what the pod's own ports accept.
type Source interface {
	// Watch returns the cell that holds the target's value once it is known; the caller watches a target once.
	Watch(t mesh.Target) *latest.Cell[*mesh.Outbound]
	// Unwatch ends what Watch began.
	Unwatch(t mesh.Target)
	// Inbound returns the cell of the pod's own policy.
	Inbound() *latest.Cell[*mesh.Inbound]
}

// target is one outbound address and what serves it.
type target struct {
	key        mesh.Target
	env        *env.Env
	engine     *forward.Engine
	cell       *latest.Cell[*mesh.Outbound]
	value      atomic.Pointer[mesh.Outbound] // the latest that refresh has applied
	routing    atomic.Pointer[routing]       // of value; set before it
	ownService *service                      // of the address itself; routes may send to others

	holders atomic.Int32 // open connections
	used    atomic.Int64 // proxy clock, when the last connection began or ended

	mu       sync.Mutex                   // guards the fields below, and the endpoints of services
	seq      uint64                       // of the value that services were made from
	services map[mesh.ServiceRef]*service // ownService among them
	labels   stats.Labels
	accept   *stats.TCP  // connections from the application
	unserved *stats.HTTP // requests that no endpoint was found for
	release  []func()
}

// refresh applies the cell's latest value. It keeps endpoints that stay, with their connections and what was learned
// about them, and the routing if only endpoints changed.
func (t *target) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	value, seq := t.cell.Load()
	if seq == t.seq || value == nil {
		return
	}
	t.seq = seq
	t.setLabels(stats.TargetLabels(value))
	t.ownService.update(t.endpoints(value), value.Accrual, t.labels)
	before := t.services
	t.services = map[mesh.ServiceRef]*service{value.Service: t.ownService}
	sameServices := len(before) > 0
	for i := range value.Backends {
		b := &value.Backends[i]
		if _, twice := t.services[b.Service]; twice {
			continue
		}
		s := before[b.Service]
		if s == nil || s == t.ownService { // the address was that Service's before
			s, sameServices = newService(t.env, t.engine), false
		}
		s.update(b.Endpoints, b.Accrual, stats.ServiceLabels(b.Service, b.Authority))
		t.services[b.Service] = s
	}
	old := t.value.Load()
	if !sameServices || len(before) != len(t.services) || !value.SameRoutes(old) {
		next := newRouting(value, t.services, t.env)
		last := t.routing.Load()
		next.setRetries(value, last, t.env.Now())
		if t.routing.Store(next); last != nil {
			last.close()
		}
	}
	t.value.Store(value)
	for ref, s := range before {
		if s != t.ownService && t.services[ref] != s {
			s.withdraw()
		}
	}
}

// setLabels sets the labels of the target. If they change, because the address is another Service's now, what counted
// under the old ones is released, and made again at the next use.
func (t *target) setLabels(labels stats.Labels) {
	if t.labels == labels {
		return
	}
	for _, release := range t.release {
		release()
	}
	t.labels, t.accept, t.unserved, t.release = labels, nil, nil, nil
}

// endpoints returns the endpoints of a value. An address outside the mesh is its own endpoint.
func (t *target) endpoints(value *mesh.Outbound) []mesh.Endpoint {
	if value.Kind == mesh.Unknown {
		return []mesh.Endpoint{{Addr: t.key.Addr}}
	}
	return value.Endpoints
}

// wait returns the target's value, after waiting for the first one; nil when it does not come in time.
func (t *target) wait(ctx context.Context, bound time.Duration) *mesh.Outbound {
	if v := t.value.Load(); v != nil {
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if _, _, err := t.cell.Wait(ctx, 0); err != nil {
		return nil
	}
	t.refresh()
	return t.value.Load()
}

// opaque reports whether connections are relayed without looking at them: the service says so, or one of its pods does.
func (t *target) opaque(v *mesh.Outbound) bool {
	if v.Kind == mesh.Unknown || v.Protocol == mesh.Opaque {
		return true
	}
	for i := range v.Endpoints {
		if v.Endpoints[i].Protocol == mesh.Opaque {
			return true
		}
	}
	return false
}

// tcp returns the counters of the application's connections to the target.
func (t *target) tcp() *stats.TCP {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.accept == nil {
		var release func()
		t.accept, release = t.env.Stats.TCP(stats.AcceptLabels(t.labels, t.key.Addr))
		t.release = append(t.release, release)
	}
	return t.accept
}

// http returns the counters of requests that no endpoint was found for.
func (t *target) http() *stats.HTTP {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unserved == nil {
		var release func()
		t.unserved, release = t.env.Stats.HTTP(t.labels)
		t.release = append(t.release, release)
	}
	return t.unserved
}

func (t *target) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.services {
		s.close()
	}
	if r := t.routing.Load(); r != nil {
		r.close()
	}
	for _, r := range t.release {
		r()
	}
	t.services, t.release = nil, nil
}

// acquire keeps the target until the returned function is called.
func (t *target) acquire() (release func()) {
	t.holders.Add(1)
	return func() {
		t.used.Store(int64(t.env.Now()))
		t.holders.Add(-1)
	}
}

// maxTargets bounds the outbound addresses that are kept.
const maxTargets = 16 << 10

// targets are the outbound addresses in use. While the control plane is away, the proxy does not sweep idle targets:
// nobody could say what serves them when they are needed again. Only when there are maxTargets, evict forgets one.
type targets struct {
	env    *env.Env
	engine *forward.Engine
	source Source

	mu    sync.Mutex // guards the fields below
	byKey map[mesh.Target]*target
}

// get returns a target and keeps it until release is called. ok is false when there are too many in use.
func (ts *targets) get(key mesh.Target) (t *target, release func(), ok bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t = ts.byKey[key]
	if t == nil {
		if len(ts.byKey) >= maxTargets && !ts.evict() {
			return nil, nil, false
		}
		t = &target{
			key: key, env: ts.env, engine: ts.engine, cell: ts.source.Watch(key), ownService: newService(ts.env, ts.engine),
		}
		ts.byKey[key] = t
	}
	release = t.acquire()
	return t, release, true
}

// evict forgets an idle target: the least recently used of those without a value, otherwise of all. An application that
// scans addresses while the control plane is away must not displace the Services that the proxy knows.
func (ts *targets) evict() bool {
	var first *target
	for _, t := range ts.byKey {
		if t.holders.Load() == 0 && (first == nil || t.evictedBefore(first)) {
			first = t
		}
	}
	if first == nil {
		return false
	}
	ts.forget(first)
	return true
}

// evictedBefore reports whether evict forgets t rather than other.
func (t *target) evictedBefore(other *target) bool {
	if known := t.value.Load() != nil; known != (other.value.Load() != nil) {
		return !known
	}
	return t.used.Load() < other.used.Load()
}

func (ts *targets) forget(t *target) {
	delete(ts.byKey, t.key)
	ts.source.Unwatch(t.key)
	t.close()
}

// sweep forgets the targets that have been idle for that long.
func (ts *targets) sweep(idle time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.byKey {
		if t.holders.Load() == 0 && ts.env.Now().Sub(clock.Instant(t.used.Load())) > idle {
			ts.forget(t)
		}
	}
}

// refresh applies a new value of a target. known is false if no connection has asked for the target.
func (ts *targets) refresh(key mesh.Target) (known bool) {
	ts.mu.Lock()
	t := ts.byKey[key]
	ts.mu.Unlock()
	if t == nil {
		return false
	}
	t.refresh()
	return true
}

// current returns the value of a target that is applied; nil if there is none.
func (ts *targets) current(key mesh.Target) *mesh.Outbound {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byKey[key]; t != nil {
		return t.value.Load()
	}
	return nil
}

// count returns how many targets are kept.
func (ts *targets) count() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.byKey)
}
