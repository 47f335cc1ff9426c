package outbound

import (
	"fmt"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/route"
)

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

// filter applies the filters of the rule. They respond to the request with x.Response, refuse it, or edit it.
func (b *boundRule) filter(x *exchange.Exchange, hit route.Hit) (responded bool, refusal *response.Refusal) {
	if b.IsDefault() {
		return false, nil
	}
	if b.Invalid != "" {
		e := response.Error{Status: 500, Cause: "proxy_configuration_error", Text: "the route cannot be served: " + b.Invalid}
		return false, &response.Refusal{Error: e, Reason: errorBadRule}
	}
	if b.CORS != nil {
		if responded, refusal := response.Preflight(x, b.CORS); responded || refusal != nil {
			return responded, refusal
		}
	}
	if b.Redirect != nil {
		response.Redirect(x, b.Redirect, hit, x.Conn.OrigDst.Port())
		b.EditResponse(&x.Response)
		b.markCORS(x)
		return true, nil
	}
	b.EditRequest(&x.Request, hit)
	return false, nil
}

// unservable refuses a request whose rule has nothing to send it to. be is nil if the rule has no backend with a
// weight. Source: Gateway API, HTTPRouteRule.backendRefs (500) and GRPCRouteRule.backendRefs (UNAVAILABLE).
func (b *boundRule) unservable(be *backend) *response.Refusal {
	if be != nil && be.service != nil && be.Invalid == "" {
		return nil
	}
	e := response.Error{Status: 500, Cause: "proxy_configuration_error"}
	if b.GRPC {
		e.Code = grpcUnavailable
	}
	if be == nil {
		e.Text = "the rule has no backend with a weight"
		return &response.Refusal{Error: e, Reason: errorNoBackend}
	}
	reason := be.Invalid
	if reason == "" {
		reason = "it is not known"
	}
	e.Text = fmt.Sprintf("the backend %s %s/%s cannot be used: %s", be.Ref.Kind, be.Ref.Namespace, be.Ref.Name, reason)
	return &response.Refusal{Error: e, Reason: errorBadBackend}
}

// filter applies the filters of the backend. They respond to the request with x.Response, or edit it.
func (be *backend) filter(x *exchange.Exchange, hit route.Hit) (responded bool) {
	if be.Redirect == nil {
		be.EditRequest(&x.Request, hit)
		return false
	}
	response.Redirect(x, be.Redirect, hit, x.Conn.OrigDst.Port())
	be.EditResponse(&x.Response)
	be.rule.EditResponse(&x.Response)
	be.rule.markCORS(x)
	return true
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
