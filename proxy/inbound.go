package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/certs"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/relay"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// inbound serves the connections that peers make to this pod's applications.
type inbound struct {
	proxy  *Proxy
	engine *forward.Engine
	log    *zap.Logger
	events events
	policy atomic.Pointer[authz.Policy] // never nil
	muxTLS *tls.Config                  // nil without certificates
	tcpTLS *tls.Config

	limiters   limiters
	handshakes failedHandshakes
	nonLocal   summary

	answered answered

	policySince time.Time // when policy became the policy; only followPolicy uses it

	mu   sync.Mutex // guards the fields below
	apps map[netip.AddrPort]*app
	open map[*openConn]struct{}
}

// inboundConn is what the requests of one connection share. It is the Data of exchange.Conn.
type inboundConn struct {
	app    *app
	name   appName // of app, when the connection began
	peer   authz.Peer
	client clientTLS
	ledger ledger
	// common are the labels of everything under the policy labelled.
	common   stats.Labels
	labelled *authz.Port
	// unrouted counts requests that were too broken to be routed; nil until there is one.
	unrouted *stats.HTTP
	release  func()
}

// serve forwards one connection of a peer to app, the address that it asked for. It is the inbound path of docs/request.md: guard,
// detect, identify, then decide for each request (inbound_http.go) or for the connection. A connection of the node that ends without a
// byte asked for nothing: it is how the kubelet probes a port (tcpSocket), which no denial must cry wolf about.
func (in *inbound) serve(ctx context.Context, conn *net.TCPConn, app netip.AddrPort) (parked bool) {
	if in.loops(app) {
		in.present(ctx, conn)
		in.refuse(conn, app, errLoop)
		return false
	}
	peer := authz.Peer{Addr: unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort()).Addr()}
	if !in.proxy.serves(app.Addr()) {
		in.refuseNonLocal(conn, app)
		return false
	}
	port := in.policy.Load().Port(app.Port())
	peek := detect.NewConn(conn)
	kind, err := peek.Sniff(in.detectTime(port))
	switch {
	case peek.Silent() && port.FromNode(peer) && !port.Decide(peer).Allow:
		in.log.Debug("connection of the node ended without a byte", zap.Stringer("app", app))
		_ = conn.Close()
		return false
	case err != nil:
		in.refuse(conn, app, errDetect)
		return false
	}
	if kind == detect.TLS {
		hello, ok, err := peek.SniffHello(in.proxy.times.inboundDetect)
		switch {
		case err != nil:
			in.refuse(conn, app, errDetect)
			return false
		case ok && in.muxTLS != nil && hello.Offers(mesh.ALPNMux):
			in.serveMux(ctx, conn, peek.Peeked(), app, peer)
			return false
		case ok && in.tcpTLS != nil && hello.Offers(mesh.ALPNRelay):
			in.serveSecure(ctx, conn, peek.Peeked(), app, peer)
			return false
		}
	}
	client := clientTLS{passed: kind == detect.TLS}
	if protocol, isHTTP := inboundProtocol(kind, port, peek); isHTTP {
		in.serveHTTP(ctx, sock.New(conn, peek.Peeked()), protocol, &exchange.Conn{
			Remote: unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort()), Target: app,
			Data: &inboundConn{app: in.app(app), peer: peer, client: client},
		})
		return false
	}
	in.relay(ctx, relay.Plain(conn, peek.Peeked()), app, peer, client)
	return false
}

// detectTime bounds the wait for a connection's first bytes. A port that takes HTTP alone has no server that speaks first.
func (in *inbound) detectTime(port *authz.Port) time.Duration {
	if port.HTTPOnly() && port.Protocol() != mesh.Opaque {
		return in.proxy.times.declared
	}
	return in.proxy.detectTime(port.Protocol(), in.proxy.times.inboundDetect)
}

// inboundProtocol says how a connection's requests are told apart. Clients connect before they have something to ask: silence on a port
// that takes HTTP alone is HTTP.
func inboundProtocol(kind detect.Kind, port *authz.Port, peek *detect.Conn) (p forward.Protocol, isHTTP bool) {
	switch {
	case port.Protocol() == mesh.Opaque:
		return 0, false
	case port.HTTPOnly() && port.Protocol() == mesh.Detect && len(peek.Peeked()) == 0:
		return forward.HTTP1, true
	default:
		return httpProtocol(kind, port.Protocol())
	}
}

// loops reports whether app is a port of the proxy. What comes here was for an address of the pod, also if nobody told us of it: only
// the port counts.
func (in *inbound) loops(app netip.AddrPort) bool {
	return in.proxy.isOwnPort(app) || in.proxy.cfg.Local == nil && in.proxy.servesPort(app.Port())
}

// serveMux terminates mesh TLS that carries requests.
func (in *inbound) serveMux(ctx context.Context, conn *net.TCPConn, prefix []byte, app netip.AddrPort, peer authz.Peer) {
	secured, id, err := in.handshake(ctx, conn, prefix, in.muxTLS)
	if err != nil {
		in.refuseHandshake(conn, app, err)
		return
	}
	peer.ID = id
	in.serveHTTP(ctx, secured, forward.Mux, &exchange.Conn{
		Peer: id, TLS: true, Remote: unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort()), Target: app,
		Data: &inboundConn{app: in.app(app), peer: peer, client: newClient(id)},
	})
}

// serveSecure terminates mesh TLS that carries one connection whose requests the peer's proxy did not tell apart: it declared the port
// opaque, or saw nothing for too long. Where the policy is about requests, they are told apart here.
func (in *inbound) serveSecure(ctx context.Context, conn *net.TCPConn, prefix []byte, app netip.AddrPort, peer authz.Peer) {
	secured, id, err := in.handshake(ctx, conn, prefix, in.tcpTLS)
	if err != nil {
		in.refuseHandshake(conn, app, err)
		return
	}
	peer.ID = id
	if port := in.policy.Load().Port(app.Port()); port.HTTPOnly() {
		peek := detect.NewConn(secured)
		kind, err := peek.Sniff(in.detectTime(port))
		if err != nil {
			in.refuse(conn, app, errDetect)
			return
		}
		if protocol, isHTTP := inboundProtocol(kind, port, peek); isHTTP {
			in.serveHTTP(ctx, peek, protocol, &exchange.Conn{
				Peer: id, TLS: true, Remote: unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort()), Target: app,
				Data: &inboundConn{app: in.app(app), peer: peer, client: newClient(id)},
			})
			return
		}
	}
	in.relay(ctx, relay.Secure(secured), app, peer, newClient(id))
}

// handshake terminates mesh TLS and returns who the peer proved to be. An address of which too many handshakes failed gets
// errHandshakeRate.
func (in *inbound) handshake(ctx context.Context, conn *net.TCPConn, prefix []byte, config *tls.Config) (*sock.Conn, mesh.ID, error) {
	from := unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort()).Addr()
	if !in.handshakes.allow(from, in.proxy.now()) {
		return nil, mesh.ID{}, errHandshakeRate
	}
	ctx, cancel := context.WithTimeout(ctx, in.proxy.times.handshake)
	defer cancel()
	secured, err := sock.Server(ctx, sock.New(conn, prefix), config)
	var id mesh.ID
	if err == nil {
		state, _ := secured.TLS()
		id, err = certs.PeerID(state)
	}
	if err != nil {
		in.handshakes.failed(from, in.proxy.now())
		return nil, mesh.ID{}, err
	}
	return secured, id, nil
}

// serveHTTP lets the engine read requests from a connection.
func (in *inbound) serveHTTP(ctx context.Context, conn net.Conn, protocol forward.Protocol, rec *exchange.Conn) {
	c := rec.Data.(*inboundConn)
	defer in.releaseApp(c.app)
	c.name = in.appName(c.app.addr)
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	open := &openConn{peer: c.peer, client: c.client, app: c.app.addr, ledger: &c.ledger, cut: cut}
	in.register(open)
	defer in.unregister(open)
	defer c.close()
	port := in.policy.Load().Port(c.app.addr.Port())
	tcp, releaseTCP := in.proxy.stats.TCP(stats.Labels(`peer="src"`).Join(c.labels(port)))
	defer releaseTCP()
	rec.Traffic = &tcp.Traffic
	closed := in.proxy.countOpen(tcp)
	closed(in.engine.Serve(ctx, conn, protocol, rec))
}

// relay forwards a connection whose requests cannot be told apart, if the policy lets the peer in.
func (in *inbound) relay(ctx context.Context, client *relay.End, app netip.AddrPort, peer authz.Peer, how clientTLS) {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	open := &openConn{peer: peer, client: how, app: app, cut: cut}
	// Registered before the decision: a policy that changes in between finds the connection.
	in.register(open)
	defer in.unregister(open)
	defer in.proxy.lapses.watch(client.Secured(), true, cut)()
	port := in.policy.Load().Port(app.Port())
	verdict := port.Decide(peer)
	name := in.appName(app)
	labels := inboundLabels(name, how, port.Server())
	in.countConnection(labels, verdict)
	if verdict.Audited {
		in.events.info("connection audited", zap.Stringer("app", app), zap.Stringer("client", peer.Addr), zap.Stringer("client_id", peer.ID))
	}
	if !verdict.Allow {
		in.events.info("connection denied", zap.Stringer("app", app), zap.Stringer("client", peer.Addr),
			zap.Stringer("client_id", peer.ID), zap.String("reason", string(verdict.Reason)))
		client.Abort()
		return
	}
	server, err := dialTCP(ctx, app, in.proxy.times.inboundConnect)
	if err != nil {
		in.countError(faultOf(err).Kind.String())
		client.Abort()
		return
	}
	in.answered.add(app, in.proxy.now())
	end := relay.Plain(server, nil)
	src, releaseSrc := in.proxy.stats.TCP(stats.Labels(`peer="src"`).Join(labels))
	defer releaseSrc()
	dst, releaseDst := in.proxy.stats.TCP(appLabels(name))
	defer releaseDst()
	client.Read, client.Written = &src.ReadBytes, &src.WrittenBytes
	end.Read, end.Written = &dst.ReadBytes, &dst.WrittenBytes
	closedSrc, closedDst := in.proxy.countOpen(src), in.proxy.countOpen(dst)
	result := relay.Run(ctx, client, end)
	closedSrc(result.A)
	closedDst(result.B)
}

// labels returns the labels of what the client does under the port's policy.
func (c *inboundConn) labels(port *authz.Port) stats.Labels {
	if c.labelled != port {
		c.labelled, c.common = port, inboundLabels(c.name, c.client, port.Server())
	}
	return c.common
}

// refuseNonLocal resets a connection for an address that is not the pod's. No honest client makes one: somebody on the pod's network
// sends it, who would reach another address, or a listener of loopback alone, with this pod's address.
func (in *inbound) refuseNonLocal(conn *net.TCPConn, app netip.AddrPort) {
	in.countError(errNonLocal)
	in.nonLocal.warn("refused connections to addresses that are not the pod's", zap.Stringer("target", app),
		zap.Stringer("client", conn.RemoteAddr()), zap.String("error", errNonLocal))
	reset(conn)
}

// refuseHandshake ends a connection whose client could not prove an identity.
func (in *inbound) refuseHandshake(conn *net.TCPConn, app netip.AddrPort, err error) {
	reason := "tls_handshake"
	var peer *certs.PeerError
	switch {
	case errors.Is(err, errHandshakeRate):
		reason = "handshake_rate"
	case errors.As(err, &peer):
		reason = string(peer.Reason)
	case errors.Is(err, certs.ErrNoCertificate):
		reason = "no_certificate"
	}
	in.events.info("mesh TLS refused", zap.Stringer("app", app), zap.String("reason", reason), zap.Error(err))
	in.countError(reason)
	_ = conn.Close() // in order, so that the client sees the alert
}

// refuse resets the connection and counts why.
func (in *inbound) refuse(conn *net.TCPConn, app netip.AddrPort, reason string) {
	in.countError(reason)
	in.log.Debug("inbound connection refused", zap.Stringer("app", app), zap.String("error", reason))
	reset(conn)
}

func (in *inbound) countError(reason string) {
	in.proxy.stats.Inc(stats.InboundTCPErrors, stats.Labels("").With("direction", "inbound").With("error", reason))
}

// countConnection counts a verdict on a connection.
func (in *inbound) countConnection(l stats.Labels, v authz.Decision) {
	if v.Allow {
		in.proxy.stats.Inc(stats.InboundTCPAllow, withAuthz(l, v.Authorization))
	} else {
		in.proxy.stats.Inc(stats.InboundTCPDeny, l.With("reason", string(v.Reason)))
	}
}
