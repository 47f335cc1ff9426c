package inbound

import (
	"bytes"
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// applyFilters edits the request as its rule says. responded is true if the rule responds to the request: x.Response
// then has no body. refusal is not nil if the rule refuses it.
func applyFilters(x *exchange.Exchange, hit route.Hit) (responded bool, refusal *response.Refusal) {
	rule := hit.Rule
	if rule.Invalid != "" {
		e := response.Error{Status: 500, Cause: "proxy_configuration_error", Text: authz.InvalidRoute.Explain()}
		return false, &response.Refusal{Error: e, Reason: string(authz.InvalidRoute), Detail: rule.Invalid}
	}
	if rule.CORS != nil {
		if responded, refusal := response.Preflight(x, rule.CORS); responded || refusal != nil {
			return responded, refusal
		}
	}
	if to := rule.Redirect; to != nil {
		response.Redirect(x, to, hit, portOf(x.Request.Authority()))
		rule.EditResponse(&x.Response)
		markCORS(x, hit.Rule)
		return true, nil
	}
	rule.EditRequest(&x.Request, hit)
	return false, nil
}

// markCORS lets the page that sent the request read the response, where the rule says so. The rule is nil where no
// route governs the request.
func markCORS(x *exchange.Exchange, rule *route.Rule) {
	if rule != nil && rule.CORS != nil {
		rule.CORS.Mark(&x.Request, &x.Response)
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
