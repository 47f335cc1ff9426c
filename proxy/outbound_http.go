package proxy

import (
	"errors"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// outboundRequest is what the outbound side knows about a request in flight. It lives in Exchange.Data and is reused.
type outboundRequest struct {
	begun bool
	grpc  bool
	ep    *endpoint // of the attempt in flight
	slot  balance.Slot
	// last is the endpoint of the last attempt, which the request is counted for.
	last *endpoint
}

// Route picks an endpoint. It implements forward.Handler.
func (o *outbound) Route(x *exchange.Exchange) forward.Verdict {
	r, ok := x.Data.(*outboundRequest)
	if !ok {
		r = &outboundRequest{}
		x.Data = r
	}
	if !r.begun {
		*r = outboundRequest{begun: true, grpc: isGRPC(&x.Request)}
	}
	t := x.Conn.Data.(*target)
	if !o.pick(t, r) {
		return forward.Park()
	}
	return forward.Give(r.ep.upstream(x.Request.Version))
}

func (o *outbound) pick(t *target, r *outboundRequest) bool {
	slot, ep, ok := t.pool.Pick(o.proxy.now())
	if !ok {
		return false
	}
	r.slot, r.ep = slot, ep
	if r.last != ep {
		r.last = ep
		ep.http().Request()
	}
	return true
}

// Again tries another endpoint when the request was certainly not processed, and answers the fault else. It implements
// forward.Handler.
func (o *outbound) Again(x *exchange.Exchange, f exchange.Fault) forward.Verdict {
	t := x.Conn.Data.(*target)
	r, ok := x.Data.(*outboundRequest)
	if !ok {
		r = &outboundRequest{}
		x.Data = r
	}
	failed := r.ep
	o.done(t, r, outcomeOf(f))
	if f.Retryable && x.Attempts < min(connectAttempts, max(t.pool.Len(), 2)) && o.pick(t, r) {
		return forward.Give(r.ep.upstream(x.Request.Version))
	}
	o.proxy.countFault(stats.OutboundHTTPErrors, "outbound", f)
	next := t.key.Addr
	if failed != nil {
		next = failed.Addr
	}
	return o.proxy.respond(x, answer{fault: f, grpc: r.grpc, detailed: true, object: o.object(t), nextHop: next})
}

// object names what the request was for, for the application that sent it.
func (o *outbound) object(t *target) string {
	if v := t.value.Load(); v != nil && v.Authority != "" {
		return v.Authority
	}
	return t.key.Addr.String()
}

// outcomeOf says what a failed attempt tells about its endpoint. One that refuses requests or drops its connections is most likely
// ending: the next attempt had better go elsewhere.
func outcomeOf(f exchange.Fault) balance.Outcome {
	switch f.Kind {
	case exchange.DialRefused, exchange.DialTimeout, exchange.Identity, exchange.Refused, exchange.Lost:
		return balance.Unreachable
	default:
		return balance.Abandoned
	}
}

// done ends the attempt in flight, if there is one.
func (o *outbound) done(t *target, r *outboundRequest, outcome balance.Outcome) {
	if r.ep != nil {
		t.pool.Done(r.slot, outcome, o.proxy.now(), 0)
		r.ep = nil
	}
}

// Response implements forward.Handler. An answer goes to the application as it came, unless it says that the peer's application has
// not seen the request: that is a failed attempt.
func (o *outbound) Response(x *exchange.Exchange) exchange.Fault {
	kind, ok := x.Response.Get(unprocessedField)
	if r, _ := x.Data.(*outboundRequest); !ok || r == nil || r.ep == nil || r.ep.Identity.IsZero() {
		return exchange.Fault{}
	}
	f := exchange.Fault{Side: exchange.Upstream, Kind: exchange.DialRefused, Reason: "application", Retryable: true}
	if string(kind) == exchange.DialTimeout.String() {
		f.Kind = exchange.DialTimeout
	}
	if text, ok := x.Response.Get("l5d-proxy-error"); ok {
		f.Err = errors.New(strings.TrimPrefix(string(text), mappingOf(f.Kind).text+": "))
	}
	return f
}

// bulkBytes is the size of a request body from where on the time to the answer tells of the upload and not of the endpoint. One upload
// of seconds would keep other requests away from its endpoint for a minute.
const bulkBytes = 64 << 10

// End tells the balancer and the metrics. It implements forward.Handler.
func (o *outbound) End(x *exchange.Exchange) {
	r, ok := x.Data.(*outboundRequest)
	if !ok {
		return
	}
	t := x.Conn.Data.(*target)
	if r.ep != nil {
		outcome, latency := balance.Abandoned, x.Answered.Sub(x.Sent)
		if !x.Answered.IsZero() {
			outcome = balance.Responded
			if x.RequestBytes > bulkBytes {
				outcome = balance.Connected
			}
		}
		t.pool.Done(r.slot, outcome, o.proxy.now(), max(latency, 0))
		r.ep = nil
	}
	counters := t.http
	if r.last != nil {
		counters = r.last.http
	}
	h := counters()
	if r.last == nil {
		h.Request()
	}
	h.Response(resultOf(x, r.grpc), latencyOf(x))
	*r = outboundRequest{}
}
