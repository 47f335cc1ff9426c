package inbound

import (
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/tap"
)

// tapRequest shows a request to those who watch it, once policy has decided on it; nil if nobody does.
func (in *Inbound) tapRequest(x *exchange.Exchange, c *peerConn, r *request) *tap.Request {
	t := in.env.Tap.Request(mesh.TapInbound, x)
	if t == nil {
		return nil
	}
	c.setTapEnds(t.Common())
	f := t.Common()
	f.Server, f.Route, f.Authorization = r.decision.server, r.route(), r.decision.Authorization
	t.Show()
	return t
}

// endTap shows how the request ended. A denial has the reason that the metrics have.
func (r *request) endTap(x *exchange.Exchange) {
	status := response.StatusOf(x, r.grpc)
	if !r.decision.Allow {
		status.Error = string(r.decision.Reason)
	}
	r.tap.End(x, tap.Result{GRPC: status.GRPC, Error: status.Error})
}

// tapConnection shows an opaque connection to those who watch it; nil if nobody does.
func (in *Inbound) tapConnection(c *peerConn, port *authz.Port, d authz.Decision) *tap.Connection {
	if in.env.Tap.Idle() {
		return nil
	}
	common := mesh.TapEvent{Server: port.Server(), Authorization: d.Authorization}
	c.setTapEnds(&common)
	return in.env.Tap.Open(mesh.TapInbound, common)
}

// setTapEnds fills in the two ends of what the client sends.
func (c *peerConn) setTapEnds(e *mesh.TapEvent) {
	e.Src.Addr, e.Src.ID, e.Dst.Addr = c.remote, c.peer.ID, c.origDst
	switch {
	case !c.peer.ID.IsZero():
		e.TLS = "true"
	case c.client.OwnTLS:
		e.TLS = "opaque"
	default:
		e.TLS = "no_identity"
	}
}
