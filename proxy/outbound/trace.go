package outbound

import (
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// traceAttempt says in the request's span where the attempt goes.
func (r *request) traceAttempt(x *exchange.Exchange) {
	r.trace.StartAttempt(&x.Request, r.endpoint.Addr, r.backend.Service)
	if r.endpoint.meshed() {
		r.trace.Peer(r.endpoint.Identity)
	}
}

// addExemplars names the request's trace at the latencies and durations that its end counted. attempt is those of the
// attempt that it ended with, or negative if there is none.
func (r *request) addExemplars(x *exchange.Exchange, h *stats.HTTP, status stats.ResponseStatus, attempt attemptTimes) {
	latency, id := response.Latency(x), r.trace.TraceID()
	h.Exemplar(status, latency, id)
	if r.rule == nil {
		return
	}
	m := r.rule.metrics()
	if m.requests != nil {
		m.requests.Exemplar(response.Duration(x), id)
	}
	if m.named != nil {
		m.named.Exemplar(status, latency, id)
	}
	if attempt.latency >= 0 {
		r.addAttemptExemplars(status, attempt)
	}
}

// addAttemptExemplars names the request's trace at the times that countAttempt counted.
func (r *request) addAttemptExemplars(status stats.ResponseStatus, took attemptTimes) {
	if m := r.backend.metrics().requests; m != nil {
		m.Exemplar(took.server, r.trace.TraceID())
	}
	if actual := r.rule.metrics().actual; actual != nil {
		actual.Exemplar(status, took.latency, r.trace.TraceID())
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
