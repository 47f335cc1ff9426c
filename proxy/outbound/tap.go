package outbound

import (
	"net"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/stats"
	"github.com/tulle-mesh/tulle/proxy/tap"
)

// tapEndpoint shows the request to those who watch it, with the endpoint that it goes to now.
func (r *request) tapEndpoint(x *exchange.Exchange) {
	f := r.tap.Common()
	f.Src.Addr, f.Route = x.Conn.Remote, r.rule.Ref
	r.endpoint.setTapEnds(f)
	f.Dst.Service = r.backend.Service
	r.tap.Show()
}

// endTap shows how the request ended. One that no endpoint got has the target as its destination.
func (r *request) endTap(x *exchange.Exchange, t *target, status stats.ResponseStatus) {
	if !r.tap.Shown() {
		f := r.tap.Common()
		f.Src.Addr = x.Conn.Remote
		t.setTapEnds(f)
		if r.rule != nil {
			f.Route = r.rule.Ref
		}
	}
	r.tap.End(x, tap.Result{GRPC: status.GRPC, Error: status.Error})
}

// tapConnection shows an opaque connection to those who watch it; nil if nobody does. ep is nil if no endpoint
// got it.
func (o *Outbound) tapConnection(conn *net.TCPConn, t *target, route opaqueRoute, ep *endpoint) *tap.Connection {
	if o.env.Tap.Idle() {
		return nil
	}
	common := mesh.TapEvent{}
	common.Src.Addr = env.RemoteAddr(conn)
	t.setTapEnds(&common)
	if ep != nil {
		ep.setTapEnds(&common)
	}
	if route.backend != nil {
		common.Dst.Service = route.backend.Service
	}
	if route.rule != nil {
		common.Route = route.rule.Ref
	}
	return o.env.Tap.Open(mesh.TapOutbound, common)
}

// setTapEnds makes the target the destination.
func (t *target) setTapEnds(e *mesh.TapEvent) {
	e.Dst.Addr, e.TLS = t.key.Addr, "no_identity"
	if v := t.value.Load(); v != nil {
		e.Dst.Service = v.Service
	}
}

// setTapEnds makes the endpoint the destination.
func (ep *endpoint) setTapEnds(e *mesh.TapEvent) {
	e.Dst.Addr, e.Dst.ID, e.Dst.Pod = ep.Addr, mesh.ID{}, ep.Pod
	switch {
	case ep.loopback:
		e.TLS = "loopback"
	case ep.Identity.IsZero():
		e.TLS = "no_identity"
	default:
		e.TLS, e.Dst.ID = "true", ep.Identity
	}
}
