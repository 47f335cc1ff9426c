package stats

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Route counts the requests that matched a route, and RouteBackend those of them that went to one of its backends.
// Their methods may be called by several goroutines and allocate nothing once a status has been counted.
type Route struct {
	labels   Labels
	grpc     bool
	statuses statusCounts
	duration durations
}

// RouteBackend counts the requests of a route that went to a backend.
type RouteBackend struct {
	labels   Labels
	grpc     bool
	requests atomic.Uint64
	statuses statusCounts
	duration durations
}

// RouteStatus is how a request of a route ended. RouteStatuses are comparable.
type RouteStatus struct {
	// Code is the HTTP status, or the gRPC status for a gRPC route; -1 if there was none.
	Code int16
	// Error is Linkerd's word for the cause of a failure; "" if the response came from the application.
	Error string

	// class means that Code is only the first digit of an HTTP status. For gRPC it stands for all statuses.
	class bool
}

// Buckets of the routes' histograms, as Linkerd has them.
var (
	requestBounds  = []time.Duration{50 * time.Millisecond, 500 * time.Millisecond, time.Second, 10 * time.Second}
	responseBounds = []time.Duration{
		25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 10 * time.Second,
	}
)

// End counts a request that ended after d.
func (r *Route) End(s RouteStatus, d time.Duration) {
	r.statuses.add(s)
	r.duration.observe(requestBounds, d)
}

// Request counts a request that was sent to the backend.
func (b *RouteBackend) Request() { b.requests.Add(1) }

// End counts a response of the backend, or its absence, after d.
func (b *RouteBackend) End(s RouteStatus, d time.Duration) {
	b.statuses.add(s)
	b.duration.observe(responseBounds, d)
}

// Route returns the group that counts the requests of a route; see HTTP.
func (r *Registry) Route(labels Labels, grpc bool) (g *Route, release func()) {
	return acquire(r, routeGroup(grpc), labels,
		func(l Labels, m room) *Route { return &Route{labels: l, grpc: grpc, statuses: statusCounts{room: m}} })
}

// RouteBackend returns the group that counts the requests of a route to one backend; see HTTP.
func (r *Registry) RouteBackend(labels Labels, grpc bool) (g *RouteBackend, release func()) {
	return acquire(r, backendGroup(grpc), labels, func(l Labels, m room) *RouteBackend {
		return &RouteBackend{labels: l, grpc: grpc, statuses: statusCounts{room: m}}
	})
}

// Named returns the group that counts requests under the route names of ServiceProfiles; see HTTP.
func (r *Registry) Named(labels Labels) (g *HTTP, release func()) {
	return acquire(r, namedGroup, labels, newHTTP(routeRequestTotal, routeResponseTotal, routeResponseLatency))
}

// Actual returns the group that counts the attempts of such requests; see Named.
func (r *Registry) Actual(labels Labels) (g *HTTP, release func()) {
	return acquire(r, actualGroup, labels, newHTTP(routeActualRequestTotal, routeActualResponseTotal,
		routeActualResponseLatency))
}

func routeGroup(grpc bool) groupKind {
	if grpc {
		return grpcRouteGroup
	}
	return httpRouteGroup
}

func backendGroup(grpc bool) groupKind {
	if grpc {
		return grpcBackendGroup
	}
	return httpBackendGroup
}

// family returns f, a family of HTTP routes, or its counterpart for gRPC routes.
func family(f id, grpc bool) id {
	if grpc {
		return f + grpcRouteStatuses - httpRouteStatuses
	}
	return f
}

func (r *Route) collect(f id, w *writer) {
	switch f {
	case family(httpRouteStatuses, r.grpc):
		r.statuses.collect(f, r.labels, statusLabels(r.grpc), w)
	case family(httpRouteDuration, r.grpc):
		r.duration.collect(f, r.labels, requestBounds, w)
	}
}

func (b *RouteBackend) collect(f id, w *writer) {
	switch f {
	case family(httpBackendRequests, b.grpc):
		w.value(f, b.labels, b.requests.Load())
	case family(httpBackendStatuses, b.grpc):
		b.statuses.collect(f, b.labels, statusLabels(b.grpc), w)
	case family(httpBackendDuration, b.grpc):
		b.duration.collect(f, b.labels, responseBounds, w)
	}
}

func (r *Route) series() int        { return maxClasses + durationSeries(requestBounds) }
func (b *RouteBackend) series() int { return 1 + maxClasses + durationSeries(responseBounds) }

func (r *Route) activity() uint64        { return r.duration.count() }
func (b *RouteBackend) activity() uint64 { return b.requests.Load() + b.duration.count() }

// statusCounts counts statuses.
type statusCounts struct {
	room room
	mu   sync.Mutex // serialises additions to list
	list atomic.Pointer[[]*statusCount]
}

type statusCount struct {
	status RouteStatus
	n      atomic.Uint64
}

func (t *statusCounts) add(s RouteStatus) {
	c := t.find(s)
	if c == nil {
		c = t.grow(s)
	}
	c.n.Add(1)
}

func (t *statusCounts) find(s RouteStatus) *statusCount {
	if list := t.list.Load(); list != nil {
		for _, c := range *list {
			if c.status == s {
				return c
			}
		}
	}
	return nil
}

func (t *statusCounts) grow(s RouteStatus) *statusCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*statusCount
	if p := t.list.Load(); p != nil {
		list = *p
	}
	if c := t.find(s); c != nil {
		return c
	}
	if len(list) >= maxStatuses || !t.room.take(1) { // a backend may invent statuses
		s = RouteStatus{Code: max(s.Code, 0) / 100, class: true}
	}
	if c := t.find(s); c != nil {
		return c
	}
	c := &statusCount{status: s}
	list = append(list[:len(list):len(list)], c)
	t.list.Store(&list)
	return c
}

func (t *statusCounts) collect(f id, labels Labels, of func(RouteStatus) Labels, w *writer) {
	list := t.list.Load()
	if list == nil {
		return
	}
	for _, c := range *list {
		w.value(f, labels.Join(of(c.status)), c.n.Load())
	}
}

// statusLabels returns the function that makes the labels of a status for routes of a kind.
func statusLabels(grpc bool) func(RouteStatus) Labels {
	return func(s RouteStatus) (l Labels) {
		switch {
		case grpc && s.class:
			l = l.With("grpc_status", "other")
		case grpc:
			l = l.With("grpc_status", codeName(s.Code))
		case s.class && s.Code > 0:
			l = l.With("http_status", classOf(int(s.Code)))
		case s.Code > 0:
			l = l.With("http_status", strconv.Itoa(int(s.Code)))
		}
		return l.With("error", s.Error)
	}
}

// codeName returns the name of a gRPC status.
func codeName(code int16) string {
	names := strings.Fields(
		"OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED " +
			"RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS " +
			"UNAUTHENTICATED")
	if code < 0 || int(code) >= len(names) {
		return "UNKNOWN"
	}
	return names[code]
}

// durations is a histogram in seconds with few buckets.
type durations struct {
	buckets [durationBuckets]atomic.Uint64 // one more than there are bounds; the rest is unused
	micros  atomic.Uint64
	// exemplars is nil until a sampled request was counted.
	exemplars atomic.Pointer[durationExemplars]
}

const durationBuckets = 8

// durationSeries returns how many series a histogram with these bounds has.
func durationSeries(bounds []time.Duration) int { return len(bounds) + 1 + 2 }

func (h *durations) observe(bounds []time.Duration, d time.Duration) {
	d = max(d, 0)
	h.micros.Add(uint64(d / time.Microsecond))
	h.buckets[durationBucket(bounds, d)].Add(1)
}

// durationBucket returns the index of the bucket of a duration.
func durationBucket(bounds []time.Duration, d time.Duration) int {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	return i
}

func (h *durations) count() (n uint64) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

func (h *durations) collect(f id, labels Labels, bounds []time.Duration, w *writer) {
	if h.count() == 0 {
		return
	}
	w.head(f)
	var sum uint64
	name, b := families[f].Name, w.buf
	var examples [durationBuckets]exemplar
	if w.format == OpenMetrics {
		examples = h.examples()
	}
	for i := range bounds {
		sum += h.buckets[i].Load()
		b = appendSeries(b, name, "_bucket", labels, boundLabels[bounds[i]][w.format])
		b = append(examples[i].append(strconv.AppendUint(b, sum, 10), microsPerSecond), '\n')
	}
	sum += h.buckets[len(bounds)].Load()
	b = appendSeries(b, name, "_bucket", labels, `le="+Inf"`)
	b = append(examples[len(bounds)].append(strconv.AppendUint(b, sum, 10), microsPerSecond), '\n')
	b = appendSeries(b, name, "_sum", labels, "")
	b = append(appendFloat(b, float64(h.micros.Load())/1e6), '\n')
	b = appendSeries(b, name, "_count", labels, "")
	w.buf = append(strconv.AppendUint(b, sum, 10), '\n')
}

// boundLabels are the le labels of all bounds of durations.
var boundLabels = func() map[time.Duration]boundLabel {
	out := map[time.Duration]boundLabel{}
	for _, bound := range slices.Concat(requestBounds, responseBounds, queueBounds) {
		out[bound] = newBoundLabel(bound.Seconds())
	}
	return out
}()
