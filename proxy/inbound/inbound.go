// Package inbound serves the connections that peers make to the pod's applications.
//
// It owns the server's side of docs/request.md: detection, mesh TLS, authorization, rate limits, the access log, and
// the connections to the applications. It must not import package proxy or proxy/outbound. The one idea: Inbound.Serve
// and Inbound.Route are the phases in their order, and what they call decides or counts one thing and returns.
package inbound

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/relay"
	"github.com/tulle-mesh/tulle/proxy/reverify"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// errorNonLocal is the value of the label "error" for destinations that are not the pod's.
const errorNonLocal = "non_local_destination"

// Config is what an Inbound is made from.
type Config struct {
	Env      *env.Env
	Reviewer *reverify.Reviewer
	// MaxHeadBytes bounds a message head; see forward.Config.
	MaxHeadBytes int
	// AccessLogFormat is "apache", "json" or "" for none. AccessLog receives the lines; nil writes none.
	AccessLogFormat string
	AccessLog       io.Writer
	// Policy is active until SetPolicy.
	Policy *authz.Policy
}

// Inbound serves the connections that peers make to this pod's applications. Make it with New.
type Inbound struct {
	env       *env.Env
	reviewer  *reverify.Reviewer
	engine    *forward.Engine
	log       *zap.Logger
	events    *env.EventLog
	nonLocal  *env.Summary
	accessLog *accessLog                   // nil without one
	policy    atomic.Pointer[authz.Policy] // never nil
	muxTLS    *tls.Config                  // nil without certificates
	relayTLS  *tls.Config

	policySince time.Time // when SetPolicy stored policy; only SetPolicy and Recheck use it

	limiters   limiters
	handshakes failedHandshakes
	listening  listening

	mu   sync.Mutex // guards the fields below
	apps map[netip.AddrPort]*app
	open map[*peerConn]struct{}
}

// New makes the inbound side. Run its Engine before Serve.
func New(cfg Config) *Inbound {
	e := cfg.Env
	log := e.Log.Named("inbound")
	in := &Inbound{
		env: e, reviewer: cfg.Reviewer, log: log, events: env.NewEventLog(log, e.Now), nonLocal: env.NewSummary(log, e.Now),
		accessLog: newAccessLog(cfg.AccessLogFormat, cfg.AccessLog, e.Log),
		limiters:  limiters{byRef: map[mesh.Ref]*limit.Limiter{}},
		apps:      map[netip.AddrPort]*app{}, open: map[*peerConn]struct{}{},
	}
	in.engine = forward.New(forward.Config{
		EndpointTimeout: e.Times.FailFast, RestoreHTTP1: true, MaxHeadBytes: cfg.MaxHeadBytes,
		Report: e.CountConnFault(stats.Inbound), Ended: e.LogConnEnd(stats.Inbound, in.events),
	}, in)
	if e.Certs != nil {
		in.muxTLS, in.relayTLS = e.Certs.ServerTLS(mesh.ALPNMux), e.Certs.ServerTLS(mesh.ALPNRelay)
	}
	in.policy.Store(cfg.Policy)
	return in
}

// Engine returns the engine that moves the requests.
func (in *Inbound) Engine() *forward.Engine { return in.engine }

// peerConn is a connection from a peer. Its requests share it: it is the Data of exchange.Conn.
type peerConn struct {
	remote  netip.AddrPort
	origDst netip.AddrPort // the application's address
	peer    authz.Peer
	client  stats.Client
	cut     context.CancelFunc // ends the connection at once
	// deniedSince is when a policy first denied what the connection carries; zero while it is allowed. Only Recheck uses
	// it.
	deniedSince time.Time
	// silent is the connection of a client without mesh TLS for which detection waited in vain; nil for any other.
	silent *detect.Conn
	// counted counts the connection as open; nil until then.
	counted *openConn

	// The rest is set for connections with requests.
	app       *app // nil for an opaque connection
	appName   stats.App
	decisions decisionCache
	// clientLabels are the labels of what the client does; they were made for the policy labelledPort.
	clientLabels stats.Labels
	labelledPort *authz.Port
	// unrouted counts requests that were too broken to be routed; nil until there is one.
	unrouted *stats.HTTP
	release  func()
}

// identify makes id the identity that the peer proved.
func (c *peerConn) identify(id mesh.ID) { c.peer.ID, c.client = id, stats.NewClient(id) }

// Serve takes a peer's connection to origDst through the phases 1 to 3 of docs/request.md. If it is HTTP, the engine
// reads its requests, and Route takes each of them through the other phases. If it is opaque, relay does.
func (in *Inbound) Serve(ctx context.Context, owner *idle.Owner, origDst netip.AddrPort) {
	conn := owner.TCPConn
	// 1. Where to: never to the proxy itself, nor to an address that is not the pod's. A client that asks a port of the
	// proxy for mesh TLS sees its certificate before the reset.
	if in.loops(origDst) {
		in.serveCertificate(ctx, conn)
		in.refuse(conn, origDst, stats.ErrorLoop)
		return
	}
	if !in.isPodAddr(origDst.Addr()) {
		in.refuseNonLocal(conn, origDst)
		return
	}
	c := &peerConn{remote: env.RemoteAddr(conn), origDst: origDst}
	c.peer.Addr = c.remote.Addr()

	// 2. Detect. A connection of the node that ends without a byte is the kubelet's tcpSocket probe. It does not count as
	// denied.
	port := in.policy.Load().Port(origDst.Port())
	peek := detect.NewConn(conn)
	kind, err := peek.Sniff(in.detectTime(port))
	if peek.EndedEmpty() && port.FromNode(c.peer) && !port.Decide(c.peer).Allow {
		in.log.Debug("connection of the node ended without a byte", zap.Stringer("app", origDst))
		_ = conn.Close()
		return
	}
	var meshTLS *tls.Config
	if err == nil && kind == detect.TLS {
		meshTLS, err = in.meshTLS(peek)
	}
	if err != nil {
		in.refuse(conn, origDst, stats.ErrorDetect)
		return
	}
	if meshTLS == nil {
		c.client.OwnTLS = kind == detect.TLS
		protocol, isHTTP := protocolOf(kind, port, peek)
		if !isHTTP {
			if peek.Silent() && port.Protocol() != mesh.Opaque {
				c.silent = peek
			}
			protocol, isHTTP = in.relay(ctx, relay.Plain(conn, peek.Peeked()), c)
		}
		if isHTTP {
			in.serveHTTP(ctx, sock.New(conn, peek.Peeked()), protocol, c)
		}
		return
	}

	// 3. Identify the client by its certificate.
	secured, id, err := in.handshake(ctx, conn, peek.Peeked(), meshTLS)
	if err != nil {
		in.refuseHandshake(conn, origDst, err)
		return
	}
	c.identify(id)
	if meshTLS == in.muxTLS {
		in.serveHTTP(ctx, secured, forward.Mux, c)
		return
	}
	// The peer's proxy did not parse requests: the port is opaque to it, or it saw no byte in time. If the policy is about
	// requests, they are parsed here.
	if port := in.policy.Load().Port(origDst.Port()); port.HTTPOnly() {
		peek := detect.NewConn(secured)
		kind, err := peek.Sniff(in.detectTime(port))
		if err != nil {
			in.refuse(conn, origDst, stats.ErrorDetect)
			return
		}
		if protocol, isHTTP := protocolOf(kind, port, peek); isHTTP {
			in.serveHTTP(ctx, peek, protocol, c)
			return
		}
	}
	in.relay(ctx, relay.Secure(secured), c)
}

// loops reports whether origDst is a port of the proxy. Only the port counts: inbound connections are for addresses of
// the pod, even for one that the proxy does not know.
func (in *Inbound) loops(origDst netip.AddrPort) bool {
	self := &in.env.Self
	return self.Loops(origDst) || !self.Local && self.OwnsPort(origDst.Port())
}

// isPodAddr reports whether connections that arrive for an address are for this pod. The kernel redirects what a
// neighbour sends, whatever its destination; the proxy must not connect to another host for it, nor to loopback, whose
// listeners are for the pod itself.
func (in *Inbound) isPodAddr(a netip.Addr) bool {
	switch {
	case in.env.Self.Local, in.env.Self.OwnsAddr(a): // a local listener has its destination from the configuration
		return true
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return false
	}
	local, err := env.IsLocal(a)
	if err != nil {
		in.events.Info("cannot tell whether an address is the pod's", zap.Stringer("addr", a), zap.Error(err))
	}
	return local
}

// detectTime bounds the wait for a connection's first bytes. On a port that accepts only HTTP, no server speaks first.
func (in *Inbound) detectTime(port *authz.Port) time.Duration {
	if port.HTTPOnly() && port.Protocol() != mesh.Opaque {
		return in.env.Times.DeclaredDetect
	}
	return in.env.DetectTime(port.Protocol(), in.env.Times.InboundDetect)
}

// meshTLS returns the configuration of the mesh TLS that a ClientHello asks for; nil if it asks for none.
func (in *Inbound) meshTLS(peek *detect.Conn) (*tls.Config, error) {
	hello, ok, err := peek.SniffHello(in.env.Times.InboundDetect)
	switch {
	case err != nil:
		return nil, err
	case ok && in.muxTLS != nil && hello.Offers(mesh.ALPNMux):
		return in.muxTLS, nil
	case ok && in.relayTLS != nil && hello.Offers(mesh.ALPNRelay):
		return in.relayTLS, nil
	default:
		return nil, nil
	}
}

// protocolOf returns how a connection's requests are parsed. On a port that accepts only HTTP, silence is HTTP: clients
// may connect before they have a request.
func protocolOf(kind detect.Kind, port *authz.Port, peek *detect.Conn) (p forward.Protocol, isHTTP bool) {
	switch {
	case port.Protocol() == mesh.Opaque:
		return 0, false
	case port.HTTPOnly() && port.Protocol() == mesh.Detect && len(peek.Peeked()) == 0:
		return forward.HTTP1, true
	default:
		return env.HTTPProtocol(kind, port.Protocol())
	}
}

// serveHTTP lets the engine read requests from a connection.
func (in *Inbound) serveHTTP(ctx context.Context, conn net.Conn, protocol forward.Protocol, c *peerConn) {
	c.app = in.app(c.origDst)
	defer in.releaseApp(c.app)
	c.appName = in.appName(c.origDst)
	ctx, c.cut = context.WithCancel(ctx)
	defer c.cut()
	in.register(c)
	defer in.unregister(c)
	defer c.releaseCounters()
	port := in.policy.Load().Port(c.origDst.Port())
	tcp := in.countOpen(c, c.labels(port))
	err := in.engine.Serve(ctx, conn, protocol, &exchange.Conn{
		Peer: c.peer.ID, Remote: c.remote, OrigDst: c.origDst, Traffic: &tcp.Traffic, Data: c,
	})
	c.counted.close(err)
}

// openConn counts a connection as open, under the labels of its client.
type openConn struct {
	tcp         *stats.TCP
	release     func()
	countClosed func(error)
}

// countOpen counts the client's connection as open, unless it is counted already. It returns the counters.
func (in *Inbound) countOpen(c *peerConn, labels stats.Labels) *stats.TCP {
	if c.counted == nil {
		tcp, release := in.env.Stats.TCP(stats.SrcLabels(labels))
		c.counted = &openConn{tcp, release, in.env.CountOpen(tcp)}
	}
	return c.counted.tcp
}

// close counts how the connection ended.
func (o *openConn) close(err error) {
	o.countClosed(err)
	o.release()
}

// relay takes an opaque connection through the phases 4 to 7 of docs/request.md: it moves the bytes if the policy
// allows the peer. If the first bytes of a silent client then are a request, relay leaves the connection to the caller:
// isHTTP is true.
func (in *Inbound) relay(ctx context.Context, client *relay.End, c *peerConn) (p forward.Protocol, isHTTP bool) {
	ctx, c.cut = context.WithCancel(ctx)
	defer c.cut()
	// Register before the decision, so that a change of the policy in between rechecks the connection.
	in.register(c)
	defer in.unregister(c)
	defer in.reviewer.Watch(client.Secured(), stats.Inbound, c.cut)()

	// 4. Authorize the connection.
	port := in.policy.Load().Port(c.origDst.Port())
	decision := port.Decide(c.peer)
	app := in.appName(c.origDst)
	labels := stats.InboundLabels(app, c.client, port.Server())
	in.countConnection(labels, decision)
	tapped := in.tapConnection(c, port, decision)
	if decision.Audited {
		in.events.Info("connection audited", zap.Stringer("app", c.origDst), zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID))
	}
	if !decision.Allow {
		in.events.Info("connection denied", zap.Stringer("app", c.origDst), zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID), zap.String("reason", string(decision.Reason)))
		tapped.Close(string(decision.Reason))
		client.Abort()
		return 0, false
	}

	// 6. Forward to the application.
	conn, err := env.Dial(ctx, c.origDst, in.env.Times.InboundConnect)
	if err != nil {
		in.env.Stats.ConnFailed(stats.Inbound, exchange.DialFault(err).Kind.String())
		tapped.Close(exchange.DialFault(err).Kind.String())
		client.Abort()
		return 0, false
	}
	in.listening.add(c.origDst, in.env.Now())
	server := relay.Plain(conn, nil)
	src := in.countOpen(c, labels)
	dst, releaseDst := in.env.Stats.TCP(stats.AppLabels(app))
	defer releaseDst()
	countDstClosed := in.env.CountOpen(dst)
	if c.silent != nil {
		if p, isHTTP = env.LateHTTP(ctx, c.silent, client, server, in.env.Times.InboundDetect); isHTTP {
			server.Close()
			countDstClosed(nil)
			tapped.Close("")
			return p, true
		}
	}
	client.Read, client.Written = &src.ReadBytes, &src.WrittenBytes
	tapped.Count(client)
	server.Read, server.Written = &dst.ReadBytes, &dst.WrittenBytes
	result := relay.Run(ctx, client, server)

	// 7. End.
	c.counted.close(result.A)
	countDstClosed(result.B)
	tapped.Close(result.Word())
	return 0, false
}

// labels returns the labels of what the client does under the port's policy.
func (c *peerConn) labels(port *authz.Port) stats.Labels {
	if c.labelledPort != port {
		c.labelledPort, c.clientLabels = port, stats.InboundLabels(c.appName, c.client, port.Server())
	}
	return c.clientLabels
}

// unroutedRequests returns the counters of a connection's requests that were too broken to be routed.
func (in *Inbound) unroutedRequests(c *peerConn) *stats.HTTP {
	if c.unrouted == nil {
		c.unrouted, c.release = in.env.Stats.HTTP(c.labels(in.policy.Load().Port(c.origDst.Port())))
	}
	return c.unrouted
}

// releaseCounters releases the counters of the connection's requests.
func (c *peerConn) releaseCounters() {
	c.decisions.close()
	if c.release != nil {
		c.release()
	}
}

// refuseNonLocal resets a connection for an address that is not the pod's. No honest client makes one. An attacker on
// the pod's network may: it would reach another host, or a listener on loopback, from this pod's address.
func (in *Inbound) refuseNonLocal(conn *net.TCPConn, origDst netip.AddrPort) {
	in.env.Stats.ConnFailed(stats.Inbound, errorNonLocal)
	in.nonLocal.Warn("refused connections to addresses that are not the pod's", zap.Stringer("target", origDst),
		zap.Stringer("client", conn.RemoteAddr()), zap.String("error", errorNonLocal))
	env.Reset(conn)
}

// refuse resets the connection and counts why.
func (in *Inbound) refuse(conn *net.TCPConn, origDst netip.AddrPort, reason string) {
	in.env.Stats.ConnFailed(stats.Inbound, reason)
	in.log.Debug("inbound connection refused", zap.Stringer("app", origDst), zap.String("error", reason))
	env.Reset(conn)
}

// countConnection counts the decision on a connection.
func (in *Inbound) countConnection(labels stats.Labels, d authz.Decision) {
	if d.Allow {
		in.env.Stats.Inc(stats.InboundTCPAllow, labels.WithAuthz(d.Authorization))
	} else {
		in.env.Stats.Inc(stats.InboundTCPDeny, labels.With("reason", string(d.Reason)))
	}
}
