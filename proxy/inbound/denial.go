package inbound

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/response"
)

// denial returns the response to a request that policy denied.
func denial(x *exchange.Exchange, c *peerConn, r *request) response.Error {
	reason, port := r.decision.Reason, c.decisions.port
	e := c.errorResponse(r, r.route())
	e.Status, e.Cause, e.Text = 403, "http_request_denied", reason.Explain()
	switch reason {
	case authz.NoRoute:
		e.Status, e.Cause = 404, "destination_not_found"
	case authz.AmbiguousPath:
		e.Status, e.Cause = 400, "http_request_error"
	case authz.InvalidRoute:
		e.Status, e.Cause = 500, "proxy_configuration_error"
		if e.Detailed {
			e.Text = cmp.Or(r.hit.Rule.Invalid, e.Text)
		}
	default:
		if port.IsProbe(c.peer, &x.Request) { // a route took the probe's place
			e.Text = "this route matches a kubelet's probe, so it decides on it: " +
				"authorize the node's network, or let the route match less"
		}
	}
	return e
}

// rateLimited returns the response to a request beyond the port's rate limit.
func rateLimited(c *peerConn, r *request, scope limit.Scope, wait time.Duration) response.Error {
	e := c.errorResponse(r, r.decision.Route)
	e.Status, e.Cause, e.RetryAfter = 429, "http_request_denied", wait
	e.Text = "too many requests from all clients together"
	if scope == limit.Identity {
		e.Text = "too many requests from this client"
	}
	e.Object = nameOf(r.decision.limiter.Limit().Ref) + ", " + e.Object
	return e
}

// errorResponse returns a response that names the Server, the route and the client, for clients that may know them.
func (c *peerConn) errorResponse(r *request, route mesh.Ref) response.Error {
	port := c.decisions.port
	object := "port " + strconv.Itoa(int(c.origDst.Port())) + " with the policy " + port.Server().Name
	if port.HasServer() {
		object = nameOf(port.Server())
	}
	if route.Namespace != "" {
		object += ", " + nameOf(route)
	}
	return response.Error{GRPC: r.grpc, Detailed: !c.peer.ID.IsZero(), Object: object + ", client " + c.client.Name}
}

// nameOf renders a Ref for people: Server shop/cart.
func nameOf(r mesh.Ref) string {
	if r.Namespace == "" {
		return strings.TrimSpace(r.Kind + " " + r.Name)
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}
