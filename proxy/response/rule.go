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
	// Readable says that the page which sent the request may read the response, if the rule has CORS.
	Readable bool
}

// ReasonCORS is the Reason of a preflight request from an origin that is not allowed.
const ReasonCORS = "cors"

// Preflight responds to a CORS preflight, which is a browser's question whether a page may send a request. answered
// says that x.Response is the response; refused is not nil if the origin is not allowed. Other requests get neither.
func Preflight(x *exchange.Exchange, cors *route.CORS) (answered bool, refused *Refusal) {
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
		e := Error{Status: 403, Cause: "http_request_denied", Text: text}
		return false, &Refusal{Error: e, Reason: ReasonCORS, Readable: true}
	}
}

// Redirect makes x.Response a redirect. port is the one that the client connected to.
func Redirect(x *exchange.Exchange, to *mesh.Redirect, hit route.Hit, port uint16) {
	location := route.Location(to, &x.Request, hit, port)
	x.Response.Reset()
	x.Response.Status = to.Status
	x.Response.Add("location", location)
}
