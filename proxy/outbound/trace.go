package outbound

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// traceAttempt says in the request's span where the attempt goes.
func (r *request) traceAttempt(x *exchange.Exchange) {
	r.trace.StartAttempt(&x.Request, r.endpoint.Addr, r.backend.Service)
	if r.endpoint.meshed() {
		r.trace.Peer(r.endpoint.Identity)
	}
}

// addExemplars names the request's trace at the latencies that its end counted. attempt is that of the attempt that it
// ended with, or negative if there is none.
func (r *request) addExemplars(h *stats.HTTP, status stats.ResponseStatus, latency, attempt time.Duration) {
	h.Exemplar(status, latency, r.trace.TraceID())
	if r.rule == nil {
		return
	}
	if named := r.rule.metrics().named; named != nil {
		named.Exemplar(status, latency, r.trace.TraceID())
	}
	if attempt >= 0 {
		r.addAttemptExemplar(status, attempt)
	}
}

// addAttemptExemplar names the request's trace at the latency of an attempt.
func (r *request) addAttemptExemplar(status stats.ResponseStatus, latency time.Duration) {
	if actual := r.rule.metrics().actual; actual != nil {
		actual.Exemplar(status, latency, r.trace.TraceID())
	}
}

// endTrace says in the request's span which rule it matched, and how it ended.
func (r *request) endTrace(x *exchange.Exchange, t *target, status stats.ResponseStatus) {
	if v := t.value.Load(); v != nil {
		r.trace.String("tulle.authority", v.Authority)
	}
	if r.rule != nil {
		r.trace.Ref("tulle.route", r.rule.Ref)
	}
	if r.refusedReason == errorInjected {
		r.trace.String("tulle.fault", errorInjected)
	}
	r.trace.End(x, status)
}
