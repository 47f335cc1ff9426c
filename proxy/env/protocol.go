package env

import (
	"context"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/relay"
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

// LateHTTP waits for the first bytes of a client that was silent during detection, while its connection to the server
// is open. peek is the same connection as client. If the client sends a request before the server sends anything,
// LateHTTP returns how the engine reads it, and its bytes stay in peek. Otherwise the connection is opaque, and
// relay.Run may follow. timeout bounds the wait for the rest of the first line.
func LateHTTP(
	ctx context.Context, peek *detect.Conn, client, server *relay.End, timeout time.Duration,
) (p forward.Protocol, isHTTP bool) {
	if !relay.ClientFirst(ctx, client, server) {
		return 0, false
	}
	kind, err := peek.Sniff(timeout)
	if err == nil {
		p, isHTTP = HTTPProtocol(kind, mesh.Detect)
	}
	if !isHTTP {
		client.Unread(peek.Peeked())
		client.Broke(err)
	}
	return p, isHTTP
}
