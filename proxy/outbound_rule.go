package proxy

import (
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// What a rule makes the proxy answer in an application's place, and how requests count under routes.

// answerRule does what a rule says that does not need a backend.
func (o *outbound) answerRule(x *exchange.Exchange, r *outboundRequest, t *target, hit route.Hit) (v forward.Verdict, answered bool) {
	c := r.course
	if c.Invalid != "" {
		return o.refuseRequest(x, r, t, answer{status: 500, cause: "proxy_configuration_error", text: "the route cannot be served: " + c.Invalid}, errBadRule), true
	}
	if c.CORS != nil {
		if v, answered := o.preflight(x, r, t); answered {
			return v, true
		}
	}
	if c.Redirect != nil {
		v = o.redirect(x, c.Redirect, hit)
		c.EditResponse(&x.Response)
		r.mark(x)
		return v, true
	}
	return v, false
}

// preflight answers a browser's question whether a page may send a request.
func (o *outbound) preflight(x *exchange.Exchange, r *outboundRequest, t *target) (v forward.Verdict, answered bool) {
	x.Response.Reset()
	asked, allowed := r.course.CORS.Preflight(&x.Request, &x.Response)
	switch {
	case !asked:
		return v, false
	case allowed:
		x.Response.Status = 204
		return forward.Reply(nil), true
	default:
		origin, _ := x.Request.Get("origin")
		text := fmt.Sprintf("CORS: requests from the origin %s are not allowed", origin)
		v = o.refuseRequest(x, r, t, answer{status: 403, cause: "http_request_denied", text: text}, errCORS)
		r.mark(x)
		return v, true
	}
}

// redirect answers with another place.
func (o *outbound) redirect(x *exchange.Exchange, to *mesh.Redirect, hit route.Hit) forward.Verdict {
	location := route.Location(to, &x.Request, hit, x.Conn.Target.Port())
	x.Response.Reset()
	x.Response.Status = to.Status
	x.Response.Add("location", location)
	return forward.Reply(nil)
}

// unrouted answers a request that no rule matches. Source: Gateway API, HTTPRouteRule.matches (404); gRPC's own status for a method
// that nobody serves.
func (o *outbound) unrouted(x *exchange.Exchange, r *outboundRequest, t *target) forward.Verdict {
	a := answer{status: 404, cause: "destination_not_found", text: "no rule of the Service's routes matches the request"}
	if t.plan.Load().grpc {
		a.code = grpcUnimplemented
	}
	return o.refuseRequest(x, r, t, a, errNoRoute)
}

// unserved answers a request whose rule has nothing to send it to; s is nil if the rule has no backend with a weight. Source: Gateway
// API, HTTPRouteRule.backendRefs (500) and GRPCRouteRule.backendRefs (UNAVAILABLE).
func (o *outbound) unserved(x *exchange.Exchange, r *outboundRequest, t *target, s *share) forward.Verdict {
	a := answer{status: 500, cause: "proxy_configuration_error"}
	if r.course.GRPC {
		a.code = grpcUnavailable
	}
	if s == nil {
		a.text = "the rule has no backend with a weight"
		return o.refuseRequest(x, r, t, a, errNoBackend)
	}
	reason := s.Invalid
	if reason == "" {
		reason = "it is not known"
	}
	a.text = fmt.Sprintf("the backend %s %s/%s cannot be used: %s", s.Ref.Kind, s.Ref.Namespace, s.Ref.Name, reason)
	return o.refuseRequest(x, r, t, a, errBadBackend)
}

const (
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcUnavailable       = 14
)

// refuseRequest answers and counts under reason.
func (o *outbound) refuseRequest(x *exchange.Exchange, r *outboundRequest, t *target, a answer, reason string) forward.Verdict {
	r.refuse = reason
	o.proxy.stats.Inc(stats.OutboundHTTPErrors, stats.Labels("").With("direction", "outbound").With("error", reason))
	a.grpc, a.detailed, a.object = r.grpc, true, o.object(t, r)
	return o.proxy.respond(x, a)
}

// mark lets the page that asked read the answer, where the rule says so.
func (r *outboundRequest) mark(x *exchange.Exchange) {
	if r.course != nil && r.course.CORS != nil {
		r.course.CORS.Mark(&x.Request, &x.Response)
	}
}

// result says how the request ended, as the route's response classes have it.
func (r *outboundRequest) result(x *exchange.Exchange) stats.Outcome {
	out := resultOf(x, r.grpc)
	if r.course != nil && len(r.course.Classes) > 0 && !r.grpc && !x.Fault.Is() {
		out.Failure = route.Failure(r.course.Classes, out.Status)
	}
	if r.refuse != "" {
		out.Error = r.refuse
		out.Failure = out.Failure || r.refuse == errInjected
	}
	return out
}

// status says the same as the metrics of routes have it.
func (r *outboundRequest) status(x *exchange.Exchange, result stats.Outcome) stats.RouteStatus {
	switch {
	case x.Fault.Is():
		return stats.RouteStatus{Code: -1, Error: routeError(x.Fault)}
	case r.course.GRPC:
		return stats.RouteStatus{Code: result.GRPC, Error: r.injected()}
	default:
		return stats.RouteStatus{Code: int16(result.Status), Error: r.injected()}
	}
}

// injected returns what metrics say of an answer that is a fault on purpose; else "".
func (r *outboundRequest) injected() string {
	if r.refuse == errInjected {
		return errInjected
	}
	return ""
}

// attemptTimes are how long an attempt took: up to the first byte of its answer, and the answer once the request was sent.
type attemptTimes struct{ latency, answer time.Duration }

// answerTimes are those of an exchange that ended with its last attempt.
func answerTimes(x *exchange.Exchange) (a attemptTimes) {
	a.answer = max(x.Ended.Sub(later(x.Sent, x.Uploaded)), 0)
	a.latency = max(x.Ended.Sub(x.Sent), 0)
	if !x.FirstByte.IsZero() {
		a.latency = max(x.FirstByte.Sub(x.Sent), 0)
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// countAttempt counts an attempt that ended.
func (r *outboundRequest) countAttempt(status stats.RouteStatus, result stats.Outcome, took attemptTimes) {
	if m := r.share.meters().requests; m != nil {
		m.End(status, took.answer)
	}
	if a := r.course.meters().actual; a != nil {
		a.Response(result, took.latency)
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
	case exchange.TotalTimeout, exchange.Deadline:
		return "REQUEST_TIMEOUT"
	case exchange.IdleTimeout:
		return "IDLE_TIMEOUT"
	default:
		return "RESPONSE_HEADERS_TIMEOUT"
	}
}
