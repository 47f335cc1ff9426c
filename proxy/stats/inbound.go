package stats

import (
	"strconv"
	"sync/atomic"
	"time"
)

// InboundRoute counts the requests that policy allowed under a route of a Server. Its methods may be called by several
// goroutines and allocate nothing once a status has been counted.
type InboundRoute struct {
	labels            Labels
	grpc              bool
	requests          atomic.Uint64
	statuses          statusCounts
	request, response durations
}

// Request counts an allowed request.
func (r *InboundRoute) Request() { r.requests.Add(1) }

// End counts the end of a request. status is the HTTP status, or the gRPC status under a GRPCRoute, or -1 without one.
// request is the time until the whole request arrived, and response the time until the whole response arrived.
func (r *InboundRoute) End(status int16, request, response time.Duration) {
	r.statuses.add(RouteStatus{Code: status})
	r.request.observe(requestBounds, request)
	r.response.observe(responseBounds, response)
}

// InboundRoute returns the group that counts the allowed requests of a route; see HTTP.
func (r *Registry) InboundRoute(labels Labels, grpc bool) (g *InboundRoute, release func()) {
	kind := inboundHTTPGroup
	if grpc {
		kind = inboundGRPCGroup
	}
	return acquire(r, kind, labels, func(l Labels, m room) *InboundRoute {
		return &InboundRoute{labels: l, grpc: grpc, statuses: statusCounts{room: m}}
	})
}

func (r *InboundRoute) collect(f id, w *writer) {
	kind := f
	if r.grpc {
		kind = f - inboundGRPCRequests + inboundHTTPRequests
	}
	switch kind {
	case inboundHTTPRequests:
		w.value(f, r.labels, r.requests.Load())
	case inboundHTTPStatuses:
		r.statuses.collect(f, r.labels, inboundStatus, w)
	case inboundHTTPRequestDuration:
		r.request.collect(f, r.labels, requestBounds, w)
	case inboundHTTPResponseDuration:
		r.response.collect(f, r.labels, responseBounds, w)
	}
}

// inboundStatus returns the label of a status. Here Linkerd writes gRPC statuses as numbers.
func inboundStatus(s RouteStatus) (l Labels) {
	switch {
	case s.Code < 0 || s.class && s.Code == 0:
		return ""
	case s.class:
		return l.With("status", classOf(int(s.Code)))
	}
	return l.With("status", strconv.Itoa(int(s.Code)))
}

func (r *InboundRoute) series() int {
	return 1 + maxClasses + durationSeries(requestBounds) + durationSeries(responseBounds)
}

func (r *InboundRoute) activity() uint64 { return r.requests.Load() + r.request.count() }
