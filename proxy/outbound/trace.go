package outbound

import (
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
