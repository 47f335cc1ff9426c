package proxy

import (
	"errors"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// outboundRequest is what the outbound side knows about a request in flight. It lives in Exchange.Data and is reused.
type outboundRequest struct {
	begun bool
	grpc  bool
	// course is the rule that the request fell under, share the rule's backend that it goes to; nil before that is known, and where the
	// proxy itself answers. They stay, whatever becomes of the target's routes meanwhile.
	course *course
	share  *share
	held   *service  // the share's, if it is not the target's own
	refuse string    // why the proxy answered in the application's place, if a rule made it
	ep     *endpoint // of the attempt in flight
	slot   balance.Slot
	effort
	wanting
	mirrored bool // or need not be
	// last is the endpoint of the last attempt, which the request is counted for.
	last *endpoint
}

func outboundRequestOf(x *exchange.Exchange) *outboundRequest {
	r, ok := x.Data.(*outboundRequest)
	if !ok {
		r = &outboundRequest{}
		x.Data = r
	}
	return r
}

// Route finds the rule that the request falls under, does what it says, and picks an endpoint. It implements forward.Handler.
func (o *outbound) Route(x *exchange.Exchange) forward.Verdict {
	r := outboundRequestOf(x)
	if !r.begun {
		if v, answered := o.begin(x, r); answered {
			return v
		}
	}
	return o.attempt(x, r)
}

// begin chooses rule and backend, and edits the request, once. answered is true when the request goes nowhere.
func (o *outbound) begin(x *exchange.Exchange, r *outboundRequest) (v forward.Verdict, answered bool) {
	*r = outboundRequest{begun: true, grpc: isGRPC(&x.Request)}
	t := x.Conn.Data.(*target)
	c, s, hit := t.choose(x, r)
	if c == nil {
		return o.unrouted(x, r, t), true
	}
	if o.embark(x, r) {
		return o.late(x, r, t), true
	}
	if c.Route >= 0 {
		if v, answered := o.answerRule(x, r, t, hit); answered {
			return v, true
		}
		c.EditRequest(&x.Request, hit)
	}
	if s == nil || s.service == nil || s.Invalid != "" {
		return o.unserved(x, r, t, s), true
	}
	if s.Redirect != nil {
		v = o.redirect(x, s.Redirect, hit)
		s.EditResponse(&x.Response)
		c.EditResponse(&x.Response)
		r.mark(x)
		return v, true
	}
	s.EditRequest(&x.Request, hit)
	r.share, r.mirrored = s, len(s.mirrors) == 0
	return v, false
}

// choose finds the rule that a request falls under, and the backend whose turn it is; c is nil if there is no rule, s if the rule has no
// backend with a weight.
func (t *target) choose(x *exchange.Exchange, r *outboundRequest) (c *course, s *share, hit route.Hit) {
	for {
		p := t.plan.Load()
		hit, ok := p.table.Match(&x.Request)
		if !ok {
			r.course = nil
			return nil, nil, hit
		}
		c = p.courses[hit.Rule.ID]
		r.course = c
		if s = c.pick(); c.Itself || s == nil || s.service == nil {
			return c, s, hit
		}
		if t.keep(s.service) { // else the routes have just changed
			r.held = s.service
			return c, s, hit
		}
	}
}

func (o *outbound) pick(r *outboundRequest) bool {
	pool, now := &r.share.service.pool, o.proxy.now()
	var (
		slot balance.Slot
		ep   *endpoint
		ok   bool
	)
	if r.last == nil {
		slot, ep, ok = pool.Pick(now)
	} else {
		slot, ep, ok = pool.PickOther(now, r.slot)
	}
	meters := r.share.meters()
	if !ok {
		r.queue(meters.balancer, now)
		return false
	}
	if r.queued {
		r.unqueue(now)
	} else {
		meters.balancer.Pass()
	}
	r.slot, r.ep = slot, ep
	if meters.requests != nil {
		meters.requests.Request()
	}
	if a := r.course.meters().actual; a != nil {
		a.Request()
	}
	if r.last != ep {
		r.last = ep
		ep.http().Request()
	}
	return true
}

// wanting is what is known about a request that waits for an endpoint.
type wanting struct {
	queued bool
	since  time.Duration // proxy clock
}

// queue counts a request that found no endpoint, once for all the times that it asks.
func (r *outboundRequest) queue(b *stats.Balancer, now time.Duration) {
	if !r.queued {
		r.wanting = wanting{queued: true, since: now}
		b.Wait()
	}
}

// unqueue ends queue.
func (r *outboundRequest) unqueue(now time.Duration) {
	r.share.meters().balancer.Leave(now - r.since)
	r.wanting = wanting{}
}

// OnFault tries another endpoint of the backend when the request was certainly not processed, and answers the fault else. It implements
// forward.Handler.
func (o *outbound) OnFault(x *exchange.Exchange, f exchange.Fault) forward.Verdict {
	t := x.Conn.Data.(*target)
	r := outboundRequestOf(x)
	f = expired(x, f, r.grpc)
	failed := r.ep
	if !r.begun { // too broken to be routed
		r.grpc = isGRPC(&x.Request)
	}
	if r.queued {
		if f.Kind == exchange.NoEndpoint {
			r.share.meters().balancer.FailFast()
		}
		r.unqueue(o.proxy.now())
	}
	o.attempted(x, r, outcomeOf(f, r.deadline), f)
	tries := 0
	if r.share != nil {
		tries = min(connectAttempts, max(r.share.service.pool.Len(), 2))
	}
	switch {
	case f.Kind == exchange.Rejected:
		return o.again(x, r)
	case f.Retryable && x.Attempts < tries && o.pick(r):
		return o.give(x, r)
	}
	if wait, ok := waitAfterRefusal(x, f, tries); ok && r.share != nil {
		return forward.Wait(wait)
	}
	switch {
	case f.Side == exchange.Upstream && o.retryFault(x, r, f):
		return o.again(x, r)
	case f.Side != exchange.Downstream:
		o.settle(x, r)
	}
	o.proxy.countFault(stats.OutboundHTTPErrors, "outbound", f)
	next := t.key.Addr
	if failed != nil {
		next = failed.Addr
	}
	a := answer{fault: f, grpc: r.grpc, detailed: true, object: o.object(t, r), nextHop: next}
	if f.Kind == exchange.Timeout {
		a.text = timeoutText(x, r, f.Reason)
	}
	v := o.proxy.respond(x, a)
	r.mark(x)
	return v
}

// object names what the request was for, for the application that sent it.
func (o *outbound) object(t *target, r *outboundRequest) string {
	name := t.key.Addr.String()
	if v := t.value.Load(); v != nil && v.Authority != "" {
		name = v.Authority
	}
	if r.course != nil && r.course.Route >= 0 {
		name += ", " + r.course.String()
	}
	return name
}

// outcomeOf says what a failed attempt tells about its endpoint. One that refuses requests or drops its connections is most likely
// ending: the next attempt had better go elsewhere.
// A deadline that the caller set says nothing about it.
func outcomeOf(f exchange.Fault, deadline bool) balance.Outcome {
	switch f.Kind {
	case exchange.DialRefused, exchange.DialTimeout, exchange.Identity, exchange.Refused, exchange.Lost:
		return balance.Unreachable
	case exchange.Reset, exchange.BadResponse, exchange.ResponseTooLarge:
		return balance.Failed
	case exchange.Timeout:
		if f.Reason == exchange.AttemptTimeout || !deadline {
			return balance.Failed
		}
		return balance.Abandoned
	default:
		return balance.Abandoned
	}
}

// attempted ends the attempt in flight, if there is one, which failed with f.
func (o *outbound) attempted(x *exchange.Exchange, r *outboundRequest, outcome balance.Outcome, f exchange.Fault) {
	if r.ep == nil {
		return
	}
	took := max(time.Since(x.Sent), 0)
	r.share.service.pool.Done(r.slot, outcome, o.proxy.now(), took)
	r.ep = nil
	r.countAttempt(stats.RouteStatus{Code: -1, Error: routeError(f)}, stats.Outcome{GRPC: stats.NotGRPC, Failure: true, Error: f.Kind.String()}, attemptTimes{took, took})
}

// Response implements forward.Handler. An answer goes to the application as the rule has it, unless it says that the peer's application
// has not seen the request: that is a failed attempt.
func (o *outbound) Response(x *exchange.Exchange) exchange.Fault {
	r, _ := x.Data.(*outboundRequest)
	if r == nil || r.ep == nil {
		return exchange.Fault{}
	}
	if kind, ok := x.Response.Get(unprocessedField); ok && !r.ep.Identity.IsZero() {
		return unprocessed(x, string(kind))
	}
	if f := o.judge(x, r); f.Is() {
		return f
	}
	r.share.EditResponse(&x.Response)
	r.course.EditResponse(&x.Response)
	r.mark(x)
	return exchange.Fault{}
}

// fromApplication is the reason of a fault that a peer's proxy had with its application.
const fromApplication = "application"

// unprocessed is the fault that a peer's proxy answered for.
func unprocessed(x *exchange.Exchange, kind string) exchange.Fault {
	f := exchange.Fault{Side: exchange.Upstream, Kind: exchange.DialRefused, Reason: fromApplication, Retryable: true}
	for _, k := range [...]exchange.Kind{exchange.DialTimeout, exchange.Refused} {
		if kind == k.String() {
			f.Kind = k
		}
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
	result := r.result(x)
	if r.queued {
		r.unqueue(o.proxy.now())
	}
	o.conclude(x, r, result)
	if r.ep != nil {
		outcome, latency := balance.Abandoned, x.Answered.Sub(x.Sent)
		if !x.Answered.IsZero() {
			outcome = balance.Responded
			switch {
			case x.Fault.Side == exchange.Upstream || !x.Fault.Is() && result.Failure:
				outcome = balance.Failed
			case result.Status == 429 || result.GRPC == grpcResourceExhausted:
				outcome = balance.Shed
			case x.RequestBytes > bulkBytes:
				outcome = balance.Connected
			}
		}
		r.share.service.pool.Done(r.slot, outcome, o.proxy.now(), max(latency, 0))
		r.ep = nil
		r.countAttempt(r.status(x, result), result, answerTimes(x))
	}
	counters := x.Conn.Data.(*target).http
	if r.last != nil {
		counters = r.last.http
	}
	h := counters()
	if r.last == nil {
		h.Request()
	}
	latency := latencyOf(x)
	h.Response(result, latency)
	if r.course != nil {
		c := r.course.meters()
		if c.requests != nil {
			c.requests.End(r.status(x, result), durationOf(x))
		}
		if c.named != nil {
			c.named.Request()
			c.named.Response(result, latency)
		}
	}
	if r.held != nil {
		x.Conn.Data.(*target).letGo(r.held)
	}
	*r = outboundRequest{}
}
