package outbound

import (
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
	"github.com/tulle-mesh/tulle/proxy/tap"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// request is what the outbound side knows about a request in flight. It lives in Exchange.Data and is reused.
type request struct {
	routed bool // Route has begun: the engine calls it again after a wait
	grpc   bool
	// rule is the rule that the request matches, backend the rule's backend that it goes to; nil before that is known, and
	// where the proxy responds itself. They stay, even if the target's routes change meanwhile.
	rule          *boundRule
	backend       *backend
	acquired      *service // the backend's, if it is not the target's own
	refusedReason string   // why the rule made the proxy refuse the request; "" if it did not

	// callerDeadline says that the caller's deadline bounds the request, or has passed; otherwise the rule's timeouts do.
	callerDeadline bool
	delayDrawn     bool         // the draw for an injected delay was made
	mirrored       bool         // the copies were sent, or there are none
	tap            *tap.Request // nil unless somebody watches the request
	trace          *trace.Span  // nil unless the request is sampled

	queueState
	endpoint     *endpoint // of the attempt in flight
	lastEndpoint *endpoint // of the last attempt; the request is counted for it
	slot         balance.Slot
	retryState
}

func requestOf(x *exchange.Exchange) *request {
	r, ok := x.Data.(*request)
	if !ok {
		r = &request{}
		x.Data = r
	}
	return r
}

// Route takes a request through the phases 4 to 6 of docs/request.md. The engine calls it again after a wait: then the
// request has its rule and its backend, and only the attempt is made. It implements forward.Handler.
func (o *Outbound) Route(x *exchange.Exchange) forward.Action {
	r, t := requestOf(x), x.Conn.Data.(*target)
	if r.routed {
		return o.attempt(x, r, t)
	}
	*r = request{routed: true, grpc: response.IsGRPC(&x.Request)}
	if !o.env.Tap.Idle() {
		r.tap = o.env.Tap.Request(mesh.TapOutbound, x)
	}
	if o.env.Tracer != nil {
		r.trace = o.env.Tracer.Client(x, r.grpc)
	}

	// 4. Choose the rule, and one of its backends by weight.
	rule, be, hit := t.choose(x, r)
	if rule == nil {
		return o.refuseRequest(x, r, t, t.noRule())
	}

	// Bound the time. If the caller's deadline has passed, respond at once.
	if !r.applyTimeouts(x) {
		r.callerDeadline = true
		x.Fault = exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: exchange.Deadline}
		o.env.CountFault(stats.Outbound, x.Fault)
		return forward.Reply(response.Error{
			Fault: x.Fault, Text: r.timeoutText(x, x.Fault.Reason), GRPC: r.grpc, Detailed: true, Object: t.object(r),
		}.Write(x))
	}

	// Apply the filters of the rule, then those of the backend. They edit the request, or respond to it.
	responded, refusal := rule.filter(x, hit)
	if !responded && refusal == nil {
		refusal = rule.unservable(be)
	}
	if !responded && refusal == nil {
		responded = be.filter(x, hit)
	}
	switch {
	case refusal != nil:
		return o.refuseRequest(x, r, t, refusal)
	case responded:
		return forward.Reply(nil)
	}
	r.backend, r.mirrored = be, len(be.mirrors) == 0
	return o.attempt(x, r, t)
}

// attempt sends the request to an endpoint of its backend, unless the rule injects a fault. The mirrors get their
// copies with the first attempt.
func (o *Outbound) attempt(x *exchange.Exchange, r *request, t *target) forward.Action {
	// Inject a fault, where the rule has one. It goes through the rule's retries.
	for r.rule.Policy.FaultInjection != nil {
		f := r.injectFault(time.Now())
		if f.delay > 0 {
			if r.trace != nil {
				r.trace.Int("tulle.fault.delay_ms", f.delay.Milliseconds())
			}
			return forward.Delay(f.delay)
		}
		if !f.abort {
			break
		}
		if !r.claimRetryAfterResponse(x, f.status, f.grpc) {
			o.recordExhausted(x, r)
			return o.refuseRequest(x, r, t, r.injectedRefusal(f))
		}
		if wait := r.beginRetry(); wait > 0 {
			return forward.Delay(wait)
		}
	}

	// 4. Choose an endpoint, or wait for one.
	if !r.pickOrQueue(o.env.Now()) {
		return forward.WaitForEndpoint()
	}

	// 5 and 6. The engine connects, unless there is a connection, and moves the request. Mirrors get their copies.
	if !r.mirrored {
		r.mirrored = true
		o.mirror(x, r.backend.mirrors, t)
	}
	return r.forward(x)
}

// forward sends the request to the endpoint that was picked. It tells a peer's proxy how much time is left.
func (r *request) forward(x *exchange.Exchange) forward.Action {
	if left, bounded := timeLeft(x); bounded {
		if x.Timeouts.Attempt > 0 {
			left = min(left, x.Timeouts.Attempt)
		}
		response.SetRemaining(&x.Request, left, r.endpoint.meshed())
	}
	if r.tap != nil {
		r.tapEndpoint(x)
	}
	if r.trace != nil {
		r.traceAttempt(x)
	}
	return forward.Forward(r.endpoint.upstream(x.Request.Version))
}

// OnFault tries another endpoint of the backend if the request may be sent again, retries what the rule's policy
// covers, and responds to every other fault. It implements forward.Handler.
func (o *Outbound) OnFault(x *exchange.Exchange, f exchange.Fault) forward.Action {
	r, t, now := requestOf(x), x.Conn.Data.(*target), o.env.Now()
	f = response.TimeoutIfExpired(x, f, r.grpc)
	if !r.routed { // too broken to be routed
		r.grpc = response.IsGRPC(&x.Request)
	}
	if r.queued {
		if f.Kind == exchange.NoEndpoint {
			r.backend.metrics().balancer.FailFast()
		}
		r.dequeue(now)
	}
	failed := r.endpoint
	r.endAttempt(x, f, now)
	maxAttempts := 0 // without a pause
	if r.backend != nil {
		maxAttempts = min(env.ConnectAttempts, max(r.backend.service.pool.Len(), 2))
	}

	// 6. Attempts: another endpoint at once, the same request after a pause, or a retry that the policy allows.
	if f.Kind != exchange.Rejected && f.SafeToResend && x.Attempts < maxAttempts {
		if !r.pickOrQueue(now) { // the last endpoint was removed meanwhile: wait, as a new request does
			return forward.WaitForEndpoint()
		}
		return r.forward(x)
	}
	if f.ServerRefused() && r.backend != nil {
		if wait, ok := retry.WaitAfterRefusal(x.Attempts, maxAttempts); ok {
			return forward.Delay(wait)
		}
	}
	if f.Kind == exchange.Rejected || f.Side == exchange.Upstream && r.claimRetryAfterFault(x, f) {
		if wait := r.beginRetry(); wait > 0 {
			return forward.Delay(wait)
		}
		return o.attempt(x, r, t)
	}
	if f.Side != exchange.Downstream {
		o.recordExhausted(x, r)
	}
	o.env.CountFault(stats.Outbound, f)
	e := response.Error{Fault: f, GRPC: r.grpc, Detailed: true, Object: t.object(r), NextHop: t.key.Addr}
	if failed != nil {
		e.NextHop = failed.Addr
	}
	if f.Kind == exchange.Timeout {
		e.Text = r.timeoutText(x, f.Reason)
	}
	action := forward.Reply(e.Write(x))
	r.markCORS(x)
	return action
}

// Response edits a response to the application as the rule says. It returns a fault, so that OnFault tries again, if
// the peer's application has not seen the request or the policy allows a retry. It implements forward.Handler.
func (o *Outbound) Response(x *exchange.Exchange) exchange.Fault {
	r, _ := x.Data.(*request)
	if r == nil || r.endpoint == nil {
		return exchange.Fault{}
	}
	if kind, ok := x.Response.Get(response.UnprocessedField); ok && r.endpoint.meshed() {
		return unprocessed(x, string(kind))
	}
	status, grpc := x.Response.Status, stats.NotGRPC
	if r.grpc && x.Response.Has("grpc-status") {
		grpc = response.CallStatus(x) // a trailers-only response
	}
	failed := status >= 500 || grpc > 0 && mesh.IsGRPCFailure(grpc)
	if failed && x.Response.Has(response.RetriedField) {
		x.Response.Del(response.RetriedField)
		r.exhausted = r.endpoint.meshed()
	}
	if r.claimRetryAfterResponse(x, status, grpc) {
		r.endRejected(x, o.env.Now())
		return exchange.Fault{Side: exchange.Upstream, Kind: exchange.Rejected}
	}
	if failed {
		o.recordExhausted(x, r)
	}
	r.backend.EditResponse(&x.Response)
	r.rule.EditResponse(&x.Response)
	r.markCORS(x)
	if r.tap != nil {
		r.tap.Response(x)
	}
	return exchange.Fault{}
}

// End tells the balancer, the metrics and those who watch how the request ended: phase 7 of docs/request.md. It
// implements forward.Handler.
func (o *Outbound) End(x *exchange.Exchange) {
	r, ok := x.Data.(*request)
	if !ok {
		return
	}
	t, now := x.Conn.Data.(*target), o.env.Now()
	status := r.responseStatus(x)
	if r.tap != nil {
		r.endTap(x, t, status)
	}
	if r.queued {
		r.dequeue(now)
	}
	r.endRetries(x, status)
	attempt := attemptTimes{latency: -1} // its attempts have ended
	if r.endpoint != nil {
		attempt = r.endLastAttempt(x, status, now)
	}
	counters := t.http
	if r.lastEndpoint != nil {
		counters = r.lastEndpoint.http
	}
	h := counters()
	if r.lastEndpoint == nil {
		h.Request()
	}
	latency := response.Latency(x)
	h.Response(status, latency)
	if r.rule != nil {
		m := r.rule.metrics()
		if m.requests != nil {
			m.requests.End(r.routeStatus(x, status), response.Duration(x))
		}
		if m.named != nil {
			m.named.Request()
			m.named.Response(status, latency)
		}
	}
	if r.trace != nil {
		r.addExemplars(x, h, status, attempt)
		r.endTrace(x, t, status)
	}
	if r.acquired != nil {
		t.releaseService(r.acquired)
	}
	*r = request{}
}

// refuseRequest responds to a request that a rule refuses, and counts it under the rule's reason.
func (o *Outbound) refuseRequest(x *exchange.Exchange, r *request, t *target,
	refusal *response.Refusal) forward.Action {
	r.refusedReason = refusal.Reason
	o.env.Stats.RequestFailed(stats.Outbound, refusal.Reason, "")
	e := refusal.Error
	e.GRPC, e.Detailed, e.Object = r.grpc, true, t.object(r)
	action := forward.Reply(e.Write(x))
	r.markCORS(x)
	return action
}
