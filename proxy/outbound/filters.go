package outbound

import (
	"fmt"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// ruleResponse is a response that a rule makes instead of a backend's.
type ruleResponse struct {
	response.Error
	reason   string // a constant word, for metrics
	readable bool   // by the page that sent the request, if the rule has CORS
}

// object names what the request was for, in responses to the application that sent it.
func (t *target) object(r *request) string {
	name := t.key.Addr.String()
	if v := t.value.Load(); v != nil && v.Authority != "" {
		name = v.Authority
	}
	if r.rule != nil && !r.rule.IsDefault() {
		name += ", " + r.rule.String()
	}
	return name
}

// filter applies the filters of the rule. They answer the request with x.Response, refuse it, or edit it.
func (b *boundRule) filter(x *exchange.Exchange, hit route.Hit) (answered bool, refused *ruleResponse) {
	if b.IsDefault() {
		return false, nil
	}
	if b.Invalid != "" {
		e := response.Error{Status: 500, Cause: "proxy_configuration_error", Text: "the route cannot be served: " + b.Invalid}
		return false, &ruleResponse{Error: e, reason: errorBadRule}
	}
	if b.CORS != nil {
		if answered, refused := b.preflight(x); answered || refused != nil {
			return answered, refused
		}
	}
	if b.Redirect != nil {
		redirect(x, b.Redirect, hit)
		b.EditResponse(&x.Response)
		b.markCORS(x)
		return true, nil
	}
	b.EditRequest(&x.Request, hit)
	return false, nil
}

// preflight answers a CORS preflight: a browser's question whether a page may send a request.
func (b *boundRule) preflight(x *exchange.Exchange) (answered bool, refused *ruleResponse) {
	x.Response.Reset()
	asked, allowed := b.CORS.Preflight(&x.Request, &x.Response)
	switch {
	case !asked:
		return false, nil
	case allowed:
		x.Response.Status = 204
		return true, nil
	default:
		origin, _ := x.Request.Get("origin")
		text := fmt.Sprintf("CORS: requests from the origin %s are not allowed", origin)
		e := response.Error{Status: 403, Cause: "http_request_denied", Text: text}
		return false, &ruleResponse{Error: e, reason: errorCORS, readable: true}
	}
}

// unservable refuses a request whose rule has nothing to send it to. be is nil if the rule has no backend with a
// weight. Source: Gateway API, HTTPRouteRule.backendRefs (500) and GRPCRouteRule.backendRefs (UNAVAILABLE).
func (b *boundRule) unservable(be *backend) *ruleResponse {
	if be != nil && be.service != nil && be.Invalid == "" {
		return nil
	}
	e := response.Error{Status: 500, Cause: "proxy_configuration_error"}
	if b.GRPC {
		e.Code = grpcUnavailable
	}
	if be == nil {
		e.Text = "the rule has no backend with a weight"
		return &ruleResponse{Error: e, reason: errorNoBackend}
	}
	reason := be.Invalid
	if reason == "" {
		reason = "it is not known"
	}
	e.Text = fmt.Sprintf("the backend %s %s/%s cannot be used: %s", be.Ref.Kind, be.Ref.Namespace, be.Ref.Name, reason)
	return &ruleResponse{Error: e, reason: errorBadBackend}
}

// filter applies the filters of the backend. They answer the request with x.Response, or edit it.
func (be *backend) filter(x *exchange.Exchange, hit route.Hit) (answered bool) {
	if be.Redirect == nil {
		be.EditRequest(&x.Request, hit)
		return false
	}
	redirect(x, be.Redirect, hit)
	be.EditResponse(&x.Response)
	be.rule.EditResponse(&x.Response)
	be.rule.markCORS(x)
	return true
}

// redirect makes x.Response a redirect.
func redirect(x *exchange.Exchange, to *mesh.Redirect, hit route.Hit) {
	location := route.Location(to, &x.Request, hit, x.Conn.OrigDst.Port())
	x.Response.Reset()
	x.Response.Status = to.Status
	x.Response.Add("location", location)
}

// markCORS lets the page that sent the request read the response, where the rule says so.
func (b *boundRule) markCORS(x *exchange.Exchange) {
	if b.CORS != nil {
		b.CORS.Mark(&x.Request, &x.Response)
	}
}

// markCORS is boundRule.markCORS for a request that may have no rule.
func (r *request) markCORS(x *exchange.Exchange) {
	if r.rule != nil {
		r.rule.markCORS(x)
	}
}

const (
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcUnavailable       = 14
)
