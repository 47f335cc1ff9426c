package inbound

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// errorCORS is the value of the label "error" for preflight requests from origins that are not allowed.
const errorCORS = "cors"

// ruleResponse is a response that a rule makes instead of the application's.
type ruleResponse struct {
	reason string // a constant word, for metrics
	status int
	cause  string // an error type of RFC 9209 §2.3
	text   string
	detail string // replaces text for clients that may know it; may be ""
}

// applyFilters edits the request as its rule says. answered is true if the rule answers the request: x.Response then
// has no body. refused is not nil if the rule refuses it.
func applyFilters(x *exchange.Exchange, hit route.Hit) (answered bool, refused *ruleResponse) {
	rule := hit.Rule
	if rule.Invalid != "" {
		return false, &ruleResponse{
			reason: string(authz.InvalidRoute), status: 500, cause: "proxy_configuration_error",
			text: authz.InvalidRoute.Explain(), detail: rule.Invalid,
		}
	}
	if rule.CORS != nil {
		if answered, refused := preflight(x, rule.CORS); answered || refused != nil {
			return answered, refused
		}
	}
	if to := rule.Redirect; to != nil {
		x.Response.Reset()
		x.Response.Status = to.Status
		x.Response.Add("location", route.Location(to, &x.Request, hit, portOf(x.Request.Authority())))
		rule.EditResponse(&x.Response)
		return true, nil
	}
	rule.EditRequest(&x.Request, hit)
	return false, nil
}

// preflight answers a CORS preflight: a browser's question whether a page may send a request.
func preflight(x *exchange.Exchange, cors *route.CORS) (answered bool, refused *ruleResponse) {
	x.Response.Reset()
	asked, allowed := cors.Preflight(&x.Request, &x.Response)
	switch {
	case !asked:
		return false, nil
	case allowed:
		x.Response.Status = 204
		return true, nil
	default:
		origin, _ := x.Request.Get("origin")
		text := fmt.Sprintf("CORS: requests from the origin %s are not allowed", origin)
		return false, &ruleResponse{reason: errorCORS, status: 403, cause: "http_request_denied", text: text}
	}
}

// portOf returns the port that an authority names, or that of plaintext HTTP.
func portOf(authority []byte) uint16 {
	if i := bytes.LastIndexByte(authority, ':'); i >= 0 {
		if n, err := strconv.ParseUint(string(authority[i+1:]), 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 80
}
