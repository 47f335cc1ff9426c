package authz

import (
	"bytes"
	"unicode"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// Match returns the part of the port that a request is for, and the matching rule if it is a route or an invalid one. A
// valid route that matches a probe of the pod's own kubelet decides on it. A route that failed to parse does not: a
// typo must not get the pod killed.
func (p *Port) Match(peer Peer, h *message.Head) (Part, route.Hit) {
	part, hit := p.route(h)
	if part < 0 && p.IsProbe(peer, h) {
		return Probe, route.Hit{}
	}
	return part, hit
}

// route returns the part that a request is for. Ambiguous paths and lower-case methods match no route, because servers
// disagree on how to read them. CONNECT matches only a route that names it: many servers treat tunnelled bytes as
// further requests, which would bypass authorization.
func (p *Port) route(h *message.Head) (Part, route.Hit) {
	tunnel := string(h.Method()) == "CONNECT"
	if len(p.routes) == 0 {
		if tunnel {
			return Tunnel, route.Hit{}
		}
		return Whole, route.Hit{}
	}
	if route.Ambiguous(h.Path()) || p.table.TooLong(h) || bytes.ContainsFunc(h.Method(), unicode.IsLower) {
		return Ambiguous, route.Hit{}
	}
	hit, ok := p.table.Match(h)
	if !ok {
		return Unmatched, route.Hit{}
	}
	if p.table.Elsewhere(h, hit) {
		return Ambiguous, route.Hit{}
	}
	if hit.Widened {
		return Invalid, hit
	}
	if tunnel && !hit.NamesMethod {
		return Tunnel, route.Hit{}
	}
	return Part(hit.Rule.RouteIndex), hit
}

// IsProbe reports whether a request comes from the pod's own kubelet: from the node, without identity, and exactly as
// one of the pod's probes or lifecycle hooks declares it. Except for the message of a gRPC call, the kubelet sends no
// body and opens no tunnel.
func (p *Port) IsProbe(peer Peer, h *message.Head) bool {
	if len(p.setting.ProbePaths) == 0 || !peer.ID.IsZero() || !p.policy.isHost(peer.Addr) {
		return false
	}
	for _, probe := range p.setting.ProbePaths {
		if string(h.Path()) == probe {
			if probe == mesh.GRPCProbePath {
				return isCall(h)
			}
			return string(h.Method()) == "GET" && !h.HasBody
		}
	}
	return false
}

// isCall reports whether a request is a gRPC call.
func isCall(h *message.Head) bool {
	value, ok := h.Get("content-type")
	return ok && string(h.Method()) == "POST" && h.Version == message.HTTP2 &&
		bytes.HasPrefix(value, []byte("application/grpc"))
}
