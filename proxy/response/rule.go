package response

import (
	"fmt"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// Refusal is the error response of a rule to a request that it does not let pass.
type Refusal struct {
	Error
	// Reason is the value of the label "error" of the request.
	Reason string
	// Detail, if set, replaces Text for clients that get details.
	Detail string
}

// ReasonCORS is the Reason of a preflight request from an origin that is not allowed.
const ReasonCORS = "cors"

// Preflight responds to a CORS preflight request: a browser asks whether a page may send another request. responded
// says that x.Response is the response; refusal is not nil if the origin is not allowed. Other requests get neither.
func Preflight(x *exchange.Exchange, cors *route.CORS) (responded bool, refusal *Refusal) {
	x.Response.Reset()
	preflight, allowed := cors.Preflight(&x.Request, &x.Response)
	switch {
	case !preflight:
		return false, nil
	case allowed:
		x.Response.Status = 204
		return true, nil
	default:
		origin, _ := x.Request.Get("origin")
		text := fmt.Sprintf("CORS: requests from the origin %s are not allowed", origin)
		e := Error{Status: 403, Cause: "http_request_denied", Text: text}
		return false, &Refusal{Error: e, Reason: ReasonCORS}
	}
}

// Redirect makes x.Response a redirect. port is the one that the client connected to.
func Redirect(x *exchange.Exchange, to *mesh.Redirect, hit route.Hit, port uint16) {
	location := route.Location(to, &x.Request, hit, port)
	x.Response.Reset()
	x.Response.Status = to.Status
	x.Response.Add("location", location)
}
