package outbound

import (
	"errors"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// bulkBytes is the size of a request body above which the time to the response is that of the upload, and says nothing
// about the endpoint. One upload of seconds would keep other requests away from its endpoint for a minute.
const bulkBytes = 64 << 10

// queueState says whether a request waits for an endpoint.
type queueState struct {
	queued bool
	since  clock.Instant
}

// enqueue counts a request that found no endpoint, once until dequeue.
func (r *request) enqueue(b *stats.Balancer, now clock.Instant) {
	if !r.queued {
		r.queueState = queueState{queued: true, since: now}
		b.Enqueue()
	}
}

// dequeue counts that the request no longer waits.
func (r *request) dequeue(now clock.Instant) {
	r.backend.metrics().balancer.Dequeue(now.Sub(r.since))
	r.queueState = queueState{}
}

// pickOrQueue picks an endpoint of the backend for the next attempt, and counts the attempt. It is false if there is
// none; then the request counts as waiting for one.
func (r *request) pickOrQueue(now clock.Instant) bool {
	pool := &r.backend.service.pool
	var (
		slot balance.Slot
		ep   *endpoint
		ok   bool
	)
	if r.lastEndpoint == nil {
		slot, ep, ok = pool.Pick(now)
	} else {
		slot, ep, ok = pool.PickOther(now, r.slot)
	}
	m := r.backend.metrics()
	if !ok {
		r.enqueue(m.balancer, now)
		return false
	}
	if r.queued {
		r.dequeue(now)
	} else {
		m.balancer.Pass()
	}
	r.slot, r.endpoint = slot, ep
	if m.requests != nil {
		m.requests.Request()
	}
	if a := r.rule.metrics().actual; a != nil {
		a.Request()
	}
	if r.lastEndpoint != ep {
		r.lastEndpoint = ep
		ep.http().Request()
	}
	return true
}

// attemptTimes are how long an attempt took: latency up to the first byte of the response's body, server from the last
// byte of the request to the response's end.
type attemptTimes struct{ latency, server time.Duration }

// endAttempt ends the attempt in flight, if there is one, which failed with f.
func (r *request) endAttempt(x *exchange.Exchange, f exchange.Fault, now clock.Instant) {
	if r.endpoint == nil {
		return
	}
	took := max(time.Since(x.Sent), 0)
	r.backend.service.pool.Done(r.slot, resultOf(f, x.Connecting, r.callerDeadline), now, took)
	r.endpoint = nil
	failure := stats.ResponseStatus{GRPC: stats.NotGRPC, Failure: true, Error: f.Kind.String()}
	times := attemptTimes{took, took}
	r.countAttempt(stats.RouteStatus{Code: -1, Error: routeError(f)}, failure, times)
	if r.trace != nil {
		r.addAttemptExemplars(failure, times)
		r.trace.EndAttempt(failure)
	}
}

// endRejected ends the attempt in flight, whose response is not passed on because the request is sent again.
func (r *request) endRejected(x *exchange.Exchange, now clock.Instant) {
	took := max(time.Since(x.Sent), 0)
	r.backend.service.pool.Done(r.slot, balance.Failed, now, took)
	r.endpoint = nil
	status := r.responseStatus(x)
	times := attemptTimes{took, took}
	r.countAttempt(r.routeStatus(x, status), status, times)
	if r.trace != nil {
		r.addAttemptExemplars(status, times)
		r.trace.EndAttempt(status)
	}
}

// endLastAttempt ends the attempt that the request ended with, and returns its times.
func (r *request) endLastAttempt(
	x *exchange.Exchange, status stats.ResponseStatus, now clock.Instant,
) attemptTimes {
	result, latency := balance.Abandoned, x.Responded.Sub(x.Sent)
	if !x.Responded.IsZero() {
		result = balance.Responded
		switch {
		case x.Fault.Side == exchange.Upstream || !x.Fault.Is() && status.Failure:
			result = balance.Failed
		case status.Status == 429 || status.GRPC == grpcResourceExhausted:
			result = balance.Shed
		case x.RequestBytes > bulkBytes:
			result = balance.Connected
		}
	}
	r.backend.service.pool.Done(r.slot, result, now, max(latency, 0))
	r.endpoint = nil
	took := attemptTimes{latency: max(x.Ended.Sub(x.Sent), 0), server: response.ServerTime(x, x.Sent)}
	if !x.FirstByte.IsZero() {
		took.latency = max(x.FirstByte.Sub(x.Sent), 0)
	}
	r.countAttempt(r.routeStatus(x, status), status, took)
	return took
}

// countAttempt counts an attempt that ended.
func (r *request) countAttempt(route stats.RouteStatus, status stats.ResponseStatus, took attemptTimes) {
	if m := r.backend.metrics().requests; m != nil {
		m.End(route, took.server)
	}
	if a := r.rule.metrics().actual; a != nil {
		a.Response(status, took.latency)
	}
}

// responseStatus returns how the request ended, by the route's response classes.
func (r *request) responseStatus(x *exchange.Exchange) stats.ResponseStatus {
	out := response.StatusOf(x, r.grpc)
	if r.rule != nil && len(r.rule.Classes) > 0 && !r.grpc && !x.Fault.Is() {
		out.Failure = route.Failure(r.rule.Classes, out.Status)
	}
	if r.refusedReason != "" {
		out.Error = r.refusedReason
		out.Failure = out.Failure || r.refusedReason == errorInjected
	}
	return out
}

// routeStatus returns how the request ended, as the metrics of routes have it.
func (r *request) routeStatus(x *exchange.Exchange, status stats.ResponseStatus) stats.RouteStatus {
	reason := ""
	if r.refusedReason == errorInjected {
		reason = errorInjected
	}
	switch {
	case x.Fault.Is():
		return stats.RouteStatus{Code: -1, Error: routeError(x.Fault)}
	case r.rule.GRPC:
		return stats.RouteStatus{Code: status.GRPC, Error: reason}
	default:
		return stats.RouteStatus{Code: int16(status.Status), Error: reason}
	}
}

// unprocessed returns the fault of a peer's proxy whose application has not seen the request. kind is the value of
// response.UnprocessedField.
func unprocessed(x *exchange.Exchange, kind string) exchange.Fault {
	f := exchange.Fault{
		Side: exchange.Upstream, Kind: exchange.DialRefused, Reason: exchange.PeerApplication, SafeToResend: true,
	}
	for _, k := range [...]exchange.Kind{exchange.DialTimeout, exchange.Refused} {
		if kind == k.String() {
			f.Kind = k
		}
	}
	if text, ok := x.Response.Get("l5d-proxy-error"); ok {
		f.Err = errors.New(strings.TrimPrefix(string(text), response.FaultText(f.Kind)+": "))
	}
	return f
}

// resultOf returns what a failed attempt says about its endpoint. An endpoint that refuses requests or drops its
// connections is most likely stopping: the next attempt goes elsewhere. The caller's deadline says nothing about it.
// connecting says that there was no connection yet.
func resultOf(f exchange.Fault, connecting, callerDeadline bool) balance.AttemptResult {
	switch f.Kind {
	case exchange.DialRefused, exchange.DialTimeout, exchange.Identity, exchange.Refused, exchange.Lost:
		return balance.Unreachable
	case exchange.Reset, exchange.BadResponse, exchange.ResponseTooLarge:
		return balance.Failed
	case exchange.Timeout:
		switch {
		case f.Reason != exchange.AttemptTimeout && callerDeadline:
			return balance.Abandoned
		case connecting:
			return balance.Unreachable
		default:
			return balance.Failed
		}
	default:
		return balance.Abandoned
	}
}

// routeError returns Linkerd's word for a fault.
func routeError(f exchange.Fault) string {
	switch f.Kind {
	case exchange.None:
		return ""
	case exchange.NoEndpoint:
		return "FAIL_FAST"
	case exchange.Overloaded:
		return "LOAD_SHED"
	case exchange.Disconnected:
		return "CANCEL"
	case exchange.Refused:
		return "REFUSED"
	case exchange.Reset:
		return "RESET"
	case exchange.DialRefused, exchange.DialTimeout, exchange.Lost:
		return "IO"
	case exchange.Timeout:
		return timeoutError(f.Reason)
	default:
		return "UNKNOWN"
	}
}

func timeoutError(reason string) string {
	switch reason {
	case exchange.RequestTimeout, exchange.Deadline:
		return "REQUEST_TIMEOUT"
	case exchange.IdleTimeout:
		return "IDLE_TIMEOUT"
	default:
		return "RESPONSE_HEADERS_TIMEOUT"
	}
}
