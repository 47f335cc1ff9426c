package authz

import (
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Match names the part of the port that a request is for. A GET of one of the pod's probe paths from its own node is a probe,
// unless a route matches it too: then the route decides.
func (p *Port) Match(peer Peer, h *message.Head) Part {
	if len(p.routes) == 0 {
		if p.IsProbe(peer, h) {
			return Probe
		}
		return Whole
	}
	part := p.route(h)
	if part < 0 && p.IsProbe(peer, h) {
		return Probe
	}
	return part
}

// route names the route that a request is for. It matches the canonical spelling of the path, and leaves the request as it was.
func (p *Port) route(h *message.Head) Part {
	var scratch [256]byte
	path, changed, ok := canonicalPath(scratch[:0], h.Path())
	if !ok {
		return Ambiguous
	}
	if changed {
		original := string(h.Path())
		defer h.SetPart(message.Path, original)
		h.SetPart(message.Path, string(path))
	}
	return Unmatched
}

// IsProbe reports whether a request is a probe of the pod's own kubelet: a GET, from the node, of exactly one of the pod's probe paths.
func (p *Port) IsProbe(peer Peer, h *message.Head) bool {
	return len(p.setting.ProbePaths) > 0 && string(h.Method()) == "GET" && p.isProbePath(h.Path()) && p.policy.isHost(peer.Addr)
}

func (p *Port) isProbePath(path []byte) bool {
	for i, c := range path {
		if c == '?' {
			path = path[:i]
			break
		}
	}
	for _, probe := range p.setting.ProbePaths {
		if string(path) == probe {
			return true
		}
	}
	return false
}
