package inbound

import (
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// beginTrace begins the span of a request, once policy has decided on it; nil if it is not sampled. The kubelet's
// probes have none: they would be most of the traces of an idle pod.
func (in *Inbound) beginTrace(x *exchange.Exchange, c *peerConn, r *request) *trace.Span {
	if r.decision.part == authz.Probe {
		return nil
	}
	s := in.env.Tracer.Server(x, r.grpc)
	if s == nil {
		return nil
	}
	s.ClientAddr(c.remote)
	s.Peer(c.peer.ID)
	s.Ref("tulle.server", r.decision.server)
	s.Ref("tulle.route", r.route())
	s.Ref("tulle.authorization", r.decision.Authorization)
	if !r.decision.Allow {
		s.Deny(string(r.decision.Reason))
	}
	return s
}

// endTrace says in the request's span how it ended, and names the trace at the latencies that countEnd counted.
func (r *request) endTrace(x *exchange.Exchange) {
	d, status, latency := r.decision, response.StatusOf(x, r.grpc), response.Latency(x)
	d.http.Exemplar(status, latency, r.trace.TraceID())
	if r.allowed {
		d.served.Exemplar(response.Duration(x), response.ServerTime(x, x.Begun), r.trace.TraceID())
		if d.named != nil {
			d.named.Exemplar(status, latency, r.trace.TraceID())
		}
	}
	r.trace.End(x, status)
}
