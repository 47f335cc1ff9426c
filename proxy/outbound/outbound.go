// Package outbound serves the connections of the pod's own applications.
//
// It owns the client's side of docs/request.md: discovery of what serves an address, routes with their run-time state,
// balancing, retries, mirrors, and the connections to endpoints. It must not import package proxy or proxy/inbound. The
// one idea: Outbound.Serve and Outbound.Route are the phases in their order, and what they call decides or counts one
// thing and returns.
package outbound

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
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/relay"
	"github.com/tulle-mesh/tulle/proxy/reverify"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Values of the label "error" of outbound connections and requests, beyond the engine's kinds of fault.
const (
	errorTooManyTargets = "too_many_targets"
	errorNoDiscovery    = "discovery_unavailable"
	errorUndefinedPort  = "undefined_port"
	errorNoRoute        = "route_not_found"
	errorNoBackend      = "no_backend"
	errorBadBackend     = "invalid_backend"
	errorBadRule        = "invalid_rule"
)

// Config is what an Outbound is made from.
type Config struct {
	Env      *env.Env
	Reviewer *reverify.Reviewer
	Idle     *idle.Pool
	Source   Source
	// MaxHeadBytes bounds a message head; see forward.Config.
	MaxHeadBytes int
}

// Outbound serves the connections of this pod's applications. Make it with New.
type Outbound struct {
	env      *env.Env
	reviewer *reverify.Reviewer
	idle     *idle.Pool
	engine   *forward.Engine
	targets  *targets
	log      *zap.Logger
	events   *env.EventLog
}

// New makes the outbound side. Run its Engine before Serve.
func New(cfg Config) *Outbound {
	e := cfg.Env
	log := e.Log.Named("outbound")
	o := &Outbound{env: e, reviewer: cfg.Reviewer, idle: cfg.Idle, log: log, events: env.NewEventLog(log, e.Now)}
	o.engine = forward.New(forward.Config{
		EndpointTimeout: e.Times.FailFast, IdleAfter: idle.After, MaxHeadBytes: cfg.MaxHeadBytes, LocalClients: true,
		Report: e.CountConnFault(stats.Outbound), Ended: e.LogConnEnd(stats.Outbound, o.events),
	}, o)
	o.targets = &targets{env: e, engine: o.engine, source: cfg.Source, byKey: map[mesh.Target]*target{}}
	return o
}

// Engine returns the engine that moves the requests.
func (o *Outbound) Engine() *forward.Engine { return o.engine }

// Refresh applies a new value of a target, and lets the requests that wait for an endpoint try again.
func (o *Outbound) Refresh(key mesh.Target) {
	if o.targets.refresh(key) {
		o.engine.Kick()
	}
}

// Sweep forgets the targets that have been idle for that long.
func (o *Outbound) Sweep(idle time.Duration) { o.targets.sweep(idle) }

// Targets returns how many targets are kept.
func (o *Outbound) Targets() int { return o.targets.count() }

// Value returns the value that is applied to connections and requests to a target; nil if there is none.
func (o *Outbound) Value(key mesh.Target) *mesh.Outbound { return o.targets.current(key) }

// Serve takes a connection of the application to origDst through the phases 1 to 3 of docs/request.md. If it is HTTP,
// the engine reads its requests, and Route takes each of them through the other phases. If it is opaque, relay does.
func (o *Outbound) Serve(ctx context.Context, owner *idle.Owner, origDst netip.AddrPort) {
	conn := owner.TCPConn
	// 1. Where to: never to the proxy itself.
	if o.env.Self.Loops(origDst) {
		o.refuse(conn, origDst, stats.ErrorLoop)
		return
	}

	// 2. Discover what serves the address.
	t, release, ok := o.targets.get(mesh.Target{Addr: origDst})
	if !ok {
		o.refuse(conn, origDst, errorTooManyTargets)
		return
	}
	owner.OnEnd(release)
	value := t.wait(ctx, o.env.Times.Discovery)
	switch {
	case value == nil && o.inCluster(origDst.Addr()):
		o.refuse(conn, origDst, errorNoDiscovery)
		return
	case value == nil:
		o.relayUnknown(ctx, conn, origDst)
		return
	case value.Kind == mesh.UndefinedPort:
		o.refuse(conn, origDst, errorUndefinedPort)
		return
	}

	// 3. Detect what the application speaks, unless the port is declared opaque.
	peek := detect.NewConn(conn)
	if t.opaque(value) {
		o.relay(ctx, conn, peek, t, false)
		return
	}
	kind, err := peek.Sniff(o.env.DetectTime(value.Protocol, o.env.Times.OutboundDetect))
	if err != nil {
		o.refuse(conn, origDst, stats.ErrorDetect)
		return
	}
	tcp := t.tcp()
	var countClosed func(error)
	protocol, isHTTP := env.HTTPProtocol(kind, value.Protocol)
	if isHTTP {
		countClosed = o.env.CountOpen(tcp)
	} else if protocol, countClosed = o.relay(ctx, conn, peek, t, peek.Silent()); countClosed == nil {
		return
	}
	h := &httpConn{
		outbound: o, ctx: ctx, closed: countClosed,
		record: &exchange.Conn{Remote: env.RemoteAddr(conn), OrigDst: origDst, Traffic: &tcp.Traffic, Data: t},
	}
	h.serve(owner, peek.Peeked(), protocol)
}

// relay takes an opaque connection through the phases 4 to 7 of docs/request.md. peek holds the bytes that detection
// has read. silent means that detection waited for the client in vain. If its first bytes then are a request, relay
// leaves the connection to the caller, and countClosed is not nil: relay has counted the connection as open.
func (o *Outbound) relay(
	ctx context.Context, conn *net.TCPConn, peek *detect.Conn, t *target, silent bool,
) (protocol forward.Protocol, countClosed func(error)) {
	// 4. Choose the rule and its service.
	route, countEnd := o.routeOpaque(t, peek)
	svc := route.service
	if svc == nil {
		countEnd(route.reason)
		o.tapConnection(conn, t, route, nil).Close(route.reason)
		o.refuse(conn, t.key.Addr, route.reason)
		return 0, nil
	}

	// 5. Connect to an endpoint. The connection outlives the endpoint, so the service is needed no longer.
	server, ep, slot, fault := o.connect(ctx, t, route)
	t.releaseService(svc)
	tapped := o.tapConnection(conn, t, route, ep)
	if fault.Is() {
		countEnd(fault.Kind.String())
		tapped.Close(fault.Kind.String())
		o.fail(conn, t, fault)
		return 0, nil
	}

	// 6. Move the bytes, unless they are those of a request.
	src, dst := t.tcp(), ep.tcp()
	countSrcClosed, countDstClosed := o.env.CountOpen(src), o.env.CountOpen(dst)
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	defer o.reviewer.Watch(server.Secured(), stats.Outbound, cut)()
	client := relay.Plain(conn, peek.Peeked())
	if silent {
		if protocol, isHTTP := env.LateHTTP(ctx, peek, client, server, o.env.Times.OutboundDetect); isHTTP {
			server.Close()
			countDstClosed(nil)
			countEnd("")
			tapped.Close("")
			svc.pool.Done(slot, balance.Connected, o.env.Now(), 0)
			return protocol, countSrcClosed
		}
	}
	client.Read, client.Written = &src.ReadBytes, &src.WrittenBytes
	tapped.Count(client)
	server.Read, server.Written = &dst.ReadBytes, &dst.WrittenBytes
	result := relay.Run(ctx, client, server)

	// 7. End.
	countSrcClosed(result.A)
	countDstClosed(result.B)
	countEnd(result.Word())
	tapped.Close(result.Word())
	svc.pool.Done(slot, balance.Connected, o.env.Now(), 0)
	return 0, nil
}

// connect picks an endpoint and connects to it. If that fails, it tries other endpoints: no byte was sent yet, so no
// server has seen anything twice.
func (o *Outbound) connect(
	ctx context.Context, t *target, route opaqueRoute,
) (*relay.End, *endpoint, balance.Slot, exchange.Fault) {
	svc, metrics, waited := route.service, route.metrics(), false
	var fault exchange.Fault
	deadline := time.Now().Add(o.env.Times.FailFast)
	for attempt := 0; attempt == 0 || attempt < connectAttempts(svc.pool.Len()); {
		slot, ep, ok := svc.pool.Pick(o.env.Now())
		if !ok {
			waited = true
			if !o.waitForEndpoint(ctx, t, svc, deadline, metrics) {
				return nil, nil, slot, exchange.Fault{Side: exchange.Proxy, Kind: exchange.NoEndpoint}
			}
			continue
		}
		if !waited {
			metrics.Pass()
		}
		waited = false
		server, err := ep.dialRelay(ctx)
		if err == nil {
			return server, ep, slot, exchange.Fault{}
		}
		fault = exchange.DialFault(err)
		svc.pool.Done(slot, balance.Unreachable, o.env.Now(), 0)
		o.log.Debug("endpoint unreachable", zap.Stringer("addr", ep.Addr), zap.Error(err))
		attempt++
	}
	return nil, nil, balance.Slot{}, fault
}

// connectAttempts returns how many endpoints connect tries while the service has that many left. Without any, the
// connection waits for one, as a new connection does.
func connectAttempts(left int) int {
	if left == 0 {
		return env.ConnectAttempts
	}
	return min(env.ConnectAttempts, left)
}

// waitForEndpoint waits until the service has endpoints; false if it has none before the deadline.
func (o *Outbound) waitForEndpoint(
	ctx context.Context, t *target, svc *service, deadline time.Time, metrics *stats.Balancer,
) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	began := o.env.Now()
	metrics.Enqueue()
	defer func() { metrics.Dequeue(o.env.Now().Sub(began)) }()
	_, seen := t.cell.Load()
	for {
		t.refresh()
		if svc.pool.Len() > 0 {
			return true
		}
		var err error
		if _, seen, err = t.cell.Wait(ctx, seen); err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				metrics.FailFast()
			}
			return false
		}
	}
}

// relayUnknown forwards to an address outside the cluster networks for which discovery had no value in time.
func (o *Outbound) relayUnknown(ctx context.Context, conn *net.TCPConn, origDst netip.AddrPort) {
	c, err := env.Dial(ctx, origDst, o.env.Times.OutboundConnect)
	if err != nil {
		o.refuse(conn, origDst, exchange.DialFault(err).Kind.String())
		return
	}
	relay.Run(ctx, relay.Plain(conn, nil), relay.Plain(c, nil))
}

// fail resets a connection whose target could not be reached.
func (o *Outbound) fail(conn *net.TCPConn, t *target, fault exchange.Fault) {
	o.events.Info("outbound connection failed", zap.Stringer("target", t.key.Addr), zap.String("fault", fault.String()))
	o.reset(conn, fault.Kind.String())
}

// refuse resets a connection that the proxy does not try to forward, and logs it: the application sees nothing but the
// reset. It does not log a connection that the application ended before the protocol was detected.
func (o *Outbound) refuse(conn *net.TCPConn, origDst netip.AddrPort, reason string) {
	if reason != stats.ErrorDetect {
		o.events.Info("outbound connection refused", zap.Stringer("target", origDst), zap.String("error", reason))
	}
	o.reset(conn, reason)
}

// reset resets the connection and counts why.
func (o *Outbound) reset(conn *net.TCPConn, reason string) {
	o.env.Stats.ConnFailed(stats.Outbound, reason)
	env.Reset(conn)
}

// inCluster reports whether an address may be one of the mesh's, which must not be reached in plaintext by guessing.
// Until discovery has named the cluster's networks, every private address counts.
func (o *Outbound) inCluster(a netip.Addr) bool {
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
