package inbound

import (
	"cmp"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
	"github.com/tulle-mesh/tulle/proxy/tap"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// request is what the inbound side knows about a request in flight. It lives in Exchange.Data and is reused.
type request struct {
	decision *cachedDecision // nil until the request is routed
	hit      route.Hit       // zero where no route governs the request
	grpc     bool
	allowed  bool // by policy and rate limit
	// log is the request's line for the access log, which is written at its end; nil without one.
	log   *accessLine
	tap   *tap.Request // nil unless somebody watches the request
	trace *trace.Span  // nil unless the request is sampled
}

func requestOf(x *exchange.Exchange) *request {
	r, ok := x.Data.(*request)
	if !ok {
		r = &request{}
		x.Data = r
	}
	return r
}

// route names the route that decided on the request, or the one with a mistake.
func (r *request) route() mesh.Ref {
	if r.decision.Reason == authz.InvalidRoute {
		return r.hit.Rule.Ref
	}
	return r.decision.Route
}

// Route takes a request through the phases 4 to 6 of docs/request.md. It implements forward.Handler.
func (in *Inbound) Route(x *exchange.Exchange) forward.Action {
	c, r := x.Conn.Data.(*peerConn), requestOf(x)
	if r.decision != nil { // it was allowed, and waited after a refusal
		return forward.Forward(in.upstream(c.app, x.Request.Version))
	}
	r.grpc = response.IsGRPC(&x.Request)

	// 4. Authorize: the policy of the port and its routes, then its rate limit.
	port := in.policy.Load().Port(c.origDst.Port())
	part, hit := port.Match(c.peer, &x.Request)
	d := in.decide(c, port, part)
	r.decision, r.hit = d, hit
	d.countBegin()
	if !in.env.Tap.Idle() { // before the span, which replaces the trace headers that the client sent
		r.tap = in.tapRequest(x, c, r)
	}
	if in.env.Tracer != nil {
		r.trace = in.beginTrace(x, c, r)
	}
	if in.accessLog != nil {
		r.log = in.accessLog.begin(x)
	}
	if !d.Allow {
		in.logDenied(c, r)
		return forward.Reply(denial(x, c, r).Write(x))
	}
	if d.Audited {
		in.events.Info("request audited", zap.Stringer("app", c.origDst), zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID))
	}
	if d.limiter != nil {
		if scope, wait := d.limiter.Take(c.peer.ID, in.env.At(x.Begun)); scope != "" {
			in.countLimited(c, d, scope)
			if r.trace != nil {
				r.trace.Deny("rate_limit")
			}
			return forward.Reply(rateLimited(c, r, scope, wait).Write(x))
		}
	}
	r.allowed = true
	d.countAllowed()

	// 5. Tell the application: apply the route's filters, set the deadline, and name the client.
	if hit.Rule != nil {
		responded, refusal := applyFilters(x, hit)
		switch {
		case refusal != nil:
			return in.refuseRequest(x, c, r, refusal)
		case responded:
			return forward.Reply(nil)
		}
	}
	if left, ok := response.TakeRemaining(&x.Request, !c.peer.ID.IsZero()); ok {
		if left <= 0 {
			x.Fault = exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: exchange.Deadline}
			in.env.CountFault(stats.Inbound, x.Fault)
			e := response.Error{Fault: x.Fault, GRPC: r.grpc, Detailed: true, Object: c.origDst.String()}
			return forward.Reply(e.Write(x))
		}
		x.Timeouts.Request = left + response.DeadlineGrace
		response.SetDeadline(&x.Request, left)
	}
	setClientID(&x.Request, c.client)

	// 6. Forward to the application.
	return forward.Forward(in.upstream(c.app, x.Request.Version))
}

// refuseRequest responds to a request that a rule refuses, and counts it under the rule's reason.
func (in *Inbound) refuseRequest(x *exchange.Exchange, c *peerConn, r *request,
	refusal *response.Refusal) forward.Action {
	in.env.Stats.RequestFailed(stats.Inbound, refusal.Reason, "")
	if r.trace != nil {
		r.trace.Fail(refusal.Reason)
	}
	e := c.errorResponse(r, r.decision.Route)
	e.Status, e.Cause, e.Text = refusal.Status, refusal.Cause, refusal.Text
	if e.Detailed {
		e.Text = cmp.Or(refusal.Detail, e.Text)
	}
	action := forward.Reply(e.Write(x))
	markCORS(x, r.hit.Rule)
	return action
}

// OnFault sends a request that may be sent again up to twice more at once. If the application refused it, OnFault sends
// it again after the pauses of retry.WaitAfterRefusal. It responds to every other fault. It implements forward.Handler.
func (in *Inbound) OnFault(x *exchange.Exchange, f exchange.Fault) forward.Action {
	c, r := x.Conn.Data.(*peerConn), requestOf(x)
	f = response.TimeoutIfExpired(x, f, r.grpc)
	dialFailed := f.Kind == exchange.DialRefused || f.Kind == exchange.DialTimeout
	if f.SafeToResend && !dialFailed && x.Attempts < env.ConnectAttempts {
		return forward.Forward(in.upstream(c.app, x.Request.Version))
	}
	if f.ServerRefused() && r.allowed {
		if wait, ok := retry.WaitAfterRefusal(x.Attempts, env.ConnectAttempts); ok {
			return forward.Delay(wait)
		}
	}
	if r.decision == nil { // too broken to be routed
		r.grpc = response.IsGRPC(&x.Request)
	}
	in.env.CountFault(stats.Inbound, f)
	meshed := !c.peer.ID.IsZero()
	action := forward.Reply(response.Error{
		Fault: f, GRPC: r.grpc, Detailed: meshed, Object: c.origDst.String(), NextHop: c.origDst,
		Unprocessed: f.SafeToResend && meshed,
	}.Write(x))
	markCORS(x, r.hit.Rule)
	return action
}

// Response edits the application's response as the route says, and marks one that was retried further along. It
// implements forward.Handler.
func (in *Inbound) Response(x *exchange.Exchange) exchange.Fault {
	r := requestOf(x)
	x.Response.Del(response.UnprocessedField) // only a proxy may say so
	in.markRetried(x, r)
	if x.Response.Status/100 == 3 && r.decision != nil && r.decision.part == authz.Probe {
		in.logRedirect(x)
	}
	if rule := r.hit.Rule; rule != nil {
		rule.EditResponse(&x.Response)
		markCORS(x, rule)
	}
	if r.tap != nil {
		r.tap.Response(x)
	}
	return exchange.Fault{}
}

// End counts the request, writes its line of the access log, and shows its end to those who watch: phase 7 of
// docs/request.md. It implements forward.Handler.
func (in *Inbound) End(x *exchange.Exchange) {
	c, r := x.Conn.Data.(*peerConn), requestOf(x)
	if r.decision == nil { // too broken to be routed
		counters := in.unroutedRequests(c)
		counters.Request()
		counters.Response(response.StatusOf(x, r.grpc), response.Latency(x))
	} else {
		r.decision.countEnd(x, r)
	}
	if r.log != nil {
		if d := r.decision; d != nil {
			r.log.server, r.log.route, r.log.authorization = d.server, r.route(), d.Authorization
		}
		in.accessLog.end(r.log, x)
	}
	if r.tap != nil {
		r.endTap(x)
	}
	if r.trace != nil {
		r.endTrace(x)
	}
	*r = request{}
}

// markRetried tells a meshed peer that a failed response passes on a failure which was retried further along.
func (in *Inbound) markRetried(x *exchange.Exchange, r *request) {
	h := &x.Response
	if h.Has(response.RetriedField) {
		h.Del(response.RetriedField)
	}
	failed := h.Status >= 500
	if !failed && r.grpc && h.Has("grpc-status") {
		failed = mesh.IsGRPCFailure(response.CallStatus(x))
	}
	if failed && !x.Conn.Peer.IsZero() && in.env.Failures.Claim(x.Begun) {
		h.Add(response.RetriedField, "1")
	}
}

// logDenied logs a request that policy denied.
func (in *Inbound) logDenied(c *peerConn, r *request) {
	in.events.Info("request denied", zap.Stringer("app", c.origDst), zap.Stringer("client", c.peer.Addr),
		zap.Stringer("client_id", c.peer.ID), zap.String("server", nameOf(c.decisions.port.Server())),
		zap.String("route", nameOf(r.route())), zap.String("reason", string(r.decision.Reason)))
}

// logRedirect logs a probe that the application redirects: the kubelet follows the redirect within the pod, and policy
// does not take that request for a probe.
func (in *Inbound) logRedirect(x *exchange.Exchange) {
	location, _ := x.Response.Get("location")
	in.events.Info("kubelet's probe was redirected", zap.Stringer("app", x.Conn.OrigDst),
		zap.String("path", string(x.Request.Path())), zap.String("location", string(location[:min(len(location), 256)])))
}

// countBegin counts a request under the decision.
func (d *cachedDecision) countBegin() {
	d.inFlight.Add(1)
	d.http.Request()
	d.decided.Inc()
}

// countAllowed counts a request that was allowed.
func (d *cachedDecision) countAllowed() {
	d.served.Request()
	if d.named != nil {
		d.named.Request()
	}
}

// countEnd counts how a request ended.
func (d *cachedDecision) countEnd(x *exchange.Exchange, r *request) {
	d.inFlight.Add(-1)
	status, latency := response.StatusOf(x, r.grpc), response.Latency(x)
	d.http.Response(status, latency)
	if !r.allowed {
		return
	}
	code := int16(cmp.Or(status.Status, -1))
	if d.Route.Kind == "GRPCRoute" {
		code = status.GRPC
	}
	d.served.End(code, response.Duration(x), response.ServerTime(x, x.Begun))
	if d.named != nil {
		d.named.Response(status, latency)
	}
}
