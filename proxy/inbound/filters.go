package inbound

import (
	"bytes"
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// applyFilters edits the request as its rule says. answered is true if the rule answers the request: x.Response then
// has no body. refused is not nil if the rule refuses it.
func applyFilters(x *exchange.Exchange, hit route.Hit) (answered bool, refused *response.Refusal) {
	rule := hit.Rule
	if rule.Invalid != "" {
		e := response.Error{Status: 500, Cause: "proxy_configuration_error", Text: authz.InvalidRoute.Explain()}
		return false, &response.Refusal{Error: e, Reason: string(authz.InvalidRoute), Detail: rule.Invalid}
	}
	if rule.CORS != nil {
		if answered, refused := response.Preflight(x, rule.CORS); answered || refused != nil {
			return answered, refused
		}
	}
	if to := rule.Redirect; to != nil {
		response.Redirect(x, to, hit, portOf(x.Request.Authority()))
		rule.EditResponse(&x.Response)
		return true, nil
	}
	rule.EditRequest(&x.Request, hit)
	return false, nil
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
