package inbound

import (
	"bytes"
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// applyFilters edits the request as its rule says. answered is true if the rule answers the request: x.Response then
// has no body.
func applyFilters(x *exchange.Exchange, hit route.Hit) (answered bool) {
	rule := hit.Rule
	if rule.CORS != nil {
		x.Response.Reset()
		if preflight, _ := rule.CORS.Preflight(&x.Request, &x.Response); preflight {
			x.Response.Status = 200
			return true
		}
	}
	if to := rule.Redirect; to != nil {
		x.Response.Reset()
		x.Response.Status = to.Status
		x.Response.Add("location", route.Location(to, &x.Request, hit, portOf(x.Request.Authority())))
		rule.EditResponse(&x.Response)
		return true
	}
	rule.EditRequest(&x.Request, hit)
	return false
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
