package inbound

import (
	"context"
	"net"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// serveCertificate shows this proxy's certificate to clients that ask for mesh TLS on a port of the proxy itself, as
// `tulle identity` does through a port-forward. It serves nothing else there, and ignores how the handshake ends.
func (in *Inbound) serveCertificate(ctx context.Context, conn *net.TCPConn) {
	if in.muxTLS == nil {
		return
	}
	peek := detect.NewConn(conn)
	if kind, err := peek.Sniff(in.env.Times.InboundDetect); err != nil || kind != detect.TLS {
		return
	}
	if hello, ok, err := peek.SniffHello(in.env.Times.InboundDetect); err != nil || !ok || !hello.Offers(mesh.ALPNMux) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, in.env.Times.Handshake)
	defer cancel()
	_, _ = sock.Server(ctx, sock.New(conn, peek.Peeked()), in.muxTLS)
}
