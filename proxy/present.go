package proxy

import (
	"context"
	"net"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// present shows this proxy's certificate to who asks for mesh TLS on a port of the proxy itself, as `tulle identity` does through a
// port-forward. Nothing is served there, whoever the peer turns out to be; how the handshake ends is the peer's affair.
func (in *inbound) present(ctx context.Context, conn *net.TCPConn) {
	if in.muxTLS == nil {
		return
	}
	peek := detect.NewConn(conn)
	if kind, err := peek.Sniff(in.proxy.times.inboundDetect); err != nil || kind != detect.TLS {
		return
	}
	if hello, ok, err := peek.SniffHello(in.proxy.times.inboundDetect); err != nil || !ok || !hello.Offers(mesh.ALPNMux) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, in.proxy.times.handshake)
	defer cancel()
	_, _ = sock.Server(ctx, sock.New(conn, peek.Peeked()), in.muxTLS)
}
