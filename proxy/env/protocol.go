package env

import (
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/forward"
)

// HTTPProtocol returns how the engine reads a connection: by kind, which its first bytes look like, and by the protocol
// that its port declares.
func HTTPProtocol(kind detect.Kind, declared mesh.Protocol) (p forward.Protocol, isHTTP bool) {
	switch {
	case kind == detect.HTTP2:
		return forward.HTTP2, true
	case kind == detect.HTTP1, declared == mesh.HTTP1 && kind != detect.TLS:
		return forward.HTTP1, true
	case declared == mesh.HTTP2 && kind != detect.TLS:
		return forward.HTTP2, true
	default:
		return 0, false
	}
}
