package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/relay"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// outbound serves the connections of this pod's applications.
type outbound struct {
	proxy   *Proxy
	engine  *forward.Engine
	targets *targets
	log     *zap.Logger
	events  events
}

// Words of the label "error" of outbound connections, beyond the engine's kinds of fault.
const (
	errLoop           = "loop"
	errOriginalDst    = "no_original_destination"
	errNonLocal       = "non_local_destination" // inbound
	errTooManyTargets = "too_many_targets"
	errNoDiscovery    = "discovery_unavailable"
	errUndefinedPort  = "undefined_port"
	errNoEndpoint     = "no_endpoint"
	errTooManyConns   = "too_many_connections"
	errDetect         = "detect"
	errNoRoute        = "route_not_found"
	errNoBackend      = "no_backend"
	errBadBackend     = "invalid_backend"
	errBadRule        = "invalid_rule"
	errCORS           = "cors"
)

// serve forwards one connection of the application to orig. It is the outbound path of docs/request.md: guard, discover, detect,
// then requests (outbound_http.go) or bytes.
func (o *outbound) serve(ctx context.Context, conn *net.TCPConn, orig netip.AddrPort) (parked bool) {
	if o.proxy.isOwnPort(orig) {
		o.refuse(conn, orig, errLoop)
		return false
	}
	t, release, ok := o.targets.get(mesh.Target{Addr: orig})
	if !ok {
		o.refuse(conn, orig, errTooManyTargets)
		return false
	}
	defer func() {
		if !parked {
			release()
		}
	}()
	value := t.wait(ctx, o.proxy.times.discovery)
	switch {
	case value == nil && o.inCluster(orig.Addr()):
		o.refuse(conn, orig, errNoDiscovery)
		return false
	case value == nil:
		o.relayUnknown(ctx, conn, orig)
		return false
	case value.Kind == mesh.UndefinedPort:
		o.refuse(conn, orig, errUndefinedPort)
		return false
	}
	return o.serveTarget(ctx, conn, t, value, release)
}

// changed takes in a new value of a target, and asks again for the requests that wait for an endpoint.
func (o *outbound) changed(key mesh.Target) {
	if o.targets.refresh(key) {
		o.engine.Kick()
	}
}

// serveTarget finds out what the application speaks and forwards it. A parked connection calls release at its end.
func (o *outbound) serveTarget(ctx context.Context, conn *net.TCPConn, t *target, value *mesh.Outbound, release func()) (parked bool) {
	peek := detect.NewConn(conn)
	if t.opaque(value) {
		o.relay(ctx, conn, peek, t)
		return false
	}
	kind, err := peek.Sniff(o.proxy.detectTime(value.Protocol, o.proxy.times.outboundDetect))
	if err != nil {
		o.refuse(conn, t.key.Addr, errDetect)
		return false
	}
	protocol, isHTTP := httpProtocol(kind, value.Protocol)
	if !isHTTP {
		o.relay(ctx, conn, peek, t)
		return false
	}
	remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	kept := &keptConn{
		proxy: o.proxy, ctx: ctx, engine: o.engine, closed: o.proxy.countOpen(t.tcp()), release: release,
		rec: &exchange.Conn{Remote: unmap(remote), Target: t.key.Addr, Traffic: &t.tcp().Traffic, Data: t},
	}
	return kept.serve(conn, peek.Peeked(), protocol)
}

// httpProtocol returns how a connection is read whose first bytes look like kind, on a port that declares a protocol.
func httpProtocol(kind detect.Kind, declared mesh.Protocol) (p forward.Protocol, isHTTP bool) {
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

// relay forwards an opaque connection, whose first bytes may have been looked at, to an endpoint.
func (o *outbound) relay(ctx context.Context, conn *net.TCPConn, peek *detect.Conn, t *target) {
	way, closed := o.passage(t, peek)
	svc := way.service
	if svc == nil {
		closed(way.reason)
		o.refuse(conn, t.key.Addr, way.reason)
		return
	}
	end, ep, slot, fault := o.connect(ctx, t, way)
	t.letGo(svc)
	if fault.Is() {
		closed(fault.Kind.String())
		o.fail(conn, t, fault)
		return
	}
	client := relay.Plain(conn, peek.Peeked())
	src, dst := t.tcp(), ep.tcp()
	client.Read, client.Written = &src.ReadBytes, &src.WrittenBytes
	end.Read, end.Written = &dst.ReadBytes, &dst.WrittenBytes
	closedSrc, closedDst := o.proxy.countOpen(src), o.proxy.countOpen(dst)
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	defer o.proxy.lapses.watch(end.Secured(), false, cut)()
	result := relay.Run(ctx, client, end)
	closedSrc(result.A)
	closedDst(result.B)
	closed(streamError(result))
	svc.pool.Done(slot, balance.Connected, o.proxy.now(), 0)
}

// streamError is Linkerd's word for a connection that broke.
func streamError(r relay.Result) string {
	if r.A != nil || r.B != nil {
		return "IO"
	}
	return ""
}

// connectAttempts bounds the endpoints that one connection or request is tried on.
const connectAttempts = 3

// connect picks endpoints until one accepts. Nothing was sent yet, so trying another is safe.
func (o *outbound) connect(ctx context.Context, t *target, way passage) (*relay.End, *endpoint, balance.Slot, exchange.Fault) {
	svc, balancer, waited := way.service, way.balancer(), false
	fault := exchange.Fault{Side: exchange.Proxy, Kind: exchange.NoEndpoint}
	deadline := time.Now().Add(o.proxy.times.failFast)
	for attempt := 0; attempt == 0 || attempt < min(connectAttempts, svc.pool.Len()); {
		slot, ep, ok := svc.pool.Pick(o.proxy.now())
		if !ok {
			waited = true
			if !o.awaitEndpoint(ctx, t, svc, deadline, balancer) {
				return nil, nil, slot, fault
			}
			continue
		}
		if !waited {
			balancer.Pass()
		}
		waited = false
		end, err := ep.dialRelay(ctx)
		if err == nil {
			return end, ep, slot, exchange.Fault{}
		}
		fault = faultOf(err)
		svc.pool.Done(slot, balance.Unreachable, o.proxy.now(), 0)
		o.log.Debug("endpoint unreachable", zap.Stringer("addr", ep.Addr), zap.Error(err))
		attempt++
	}
	return nil, nil, balance.Slot{}, fault
}

// awaitEndpoint waits for a value with endpoints; false when none comes before the deadline.
func (o *outbound) awaitEndpoint(ctx context.Context, t *target, svc *service, deadline time.Time, balancer *stats.Balancer) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	began := o.proxy.now()
	balancer.Wait()
	defer func() { balancer.Leave(o.proxy.now() - began) }()
	_, seen := t.cell.Load()
	for {
		t.refresh()
		if svc.pool.Len() > 0 {
			return true
		}
		var err error
		if _, seen, err = t.cell.Wait(ctx, seen); err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				balancer.FailFast()
			}
			return false
		}
	}
}

// relayUnknown forwards to an address outside the cluster of which discovery, being away, said nothing.
func (o *outbound) relayUnknown(ctx context.Context, conn *net.TCPConn, orig netip.AddrPort) {
	c, err := dialTCP(ctx, orig, o.proxy.times.outboundConnect)
	if err != nil {
		o.refuse(conn, orig, faultOf(err).Kind.String())
		return
	}
	relay.Run(ctx, relay.Plain(conn, nil), relay.Plain(c, nil))
}

// fail resets a connection whose target could not be reached.
func (o *outbound) fail(conn *net.TCPConn, t *target, fault exchange.Fault) {
	o.events.info("outbound connection failed", zap.Stringer("target", t.key.Addr), zap.String("fault", fault.String()))
	o.abandon(conn, fault.Kind.String())
}

// refuse resets a connection that the proxy does not try to forward, and says so: the application sees nothing but the reset. One that
// ended before it said anything is the application's own affair.
func (o *outbound) refuse(conn *net.TCPConn, orig netip.AddrPort, reason string) {
	if reason != errDetect {
		o.events.info("outbound connection refused", zap.Stringer("target", orig), zap.String("error", reason))
	}
	o.abandon(conn, reason)
}

// abandon resets the connection and counts why.
func (o *outbound) abandon(conn *net.TCPConn, reason string) {
	o.proxy.stats.Inc(stats.OutboundTCPErrors, stats.Labels("").With("direction", "outbound").With("error", reason))
	reset(conn)
}

// inCluster reports whether an address may be one of the mesh's, which must not be reached in plaintext by guessing. Until discovery
// told what the cluster's networks are, every private address counts.
func (o *outbound) inCluster(a netip.Addr) bool {
	in, _ := o.targets.source.Inbound().Load()
	if in == nil || len(in.ClusterNetworks) == 0 {
		return a.IsPrivate() || a.IsLinkLocalUnicast() || sharedAddressSpace.Contains(a)
	}
	for _, n := range in.ClusterNetworks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// sharedAddressSpace is used inside clusters like the private networks. Source: RFC 6598.
var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")
