// Package proxy is the sidecar: it accepts redirected connections, finds their original destination and their protocol,
// and forwards them over mutual TLS.
//
// It owns the configuration, listeners, admin and drain. It must not import Kubernetes or the control plane. The one
// idea: proxy/outbound and proxy/inbound serve connections, each in the order of phases that docs/request.md lists;
// this package makes them, gives them what they need of the process, and hands them what it accepts.
package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/control"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/inbound"
	"github.com/tulle-mesh/tulle/proxy/outbound"
	"github.com/tulle-mesh/tulle/proxy/reverify"
	"github.com/tulle-mesh/tulle/proxy/stats"
	"github.com/tulle-mesh/tulle/proxy/tap"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// Proxy is one sidecar. Make it with New; Run may be called once.
type Proxy struct {
	cfg Config
	log *zap.Logger
	env *env.Env

	source   outbound.Source
	control  *control.Client // source, in a pod
	fixed    *fixedSource    // source, in local mode
	outbound *outbound.Outbound
	inbound  *inbound.Inbound
	reviewer *reverify.Reviewer
	idle     *idle.Pool
	admin    *admin
	tap      *tap.Server // nil if nobody may watch
	conns    tracker

	origDst   func(*net.TCPConn) (netip.AddrPort, error)
	listeners []*listener
	bound     Addresses
	running   chan struct{}
}

// Addresses are where a proxy listens.
type Addresses struct {
	Outbound, Inbound, Admin netip.AddrPort
	// Tap is invalid unless somebody may watch.
	Tap netip.AddrPort
	// Local holds the addresses of a local configuration's listeners, in its order.
	Local struct{ Outbound, Inbound []netip.AddrPort }
}

// New makes a proxy; it does nothing before Run.
func New(cfg Config) (*Proxy, error) {
	// 1. What both directions share.
	p := &Proxy{
		cfg: cfg, log: cfg.Log.Named("proxy"), origDst: cfg.OrigDst, running: make(chan struct{}),
		env: &env.Env{
			Stats: stats.NewRegistry(), Times: env.TimesOf(&cfg.Settings), Started: time.Now(),
			Self: env.Self{IPs: cfg.Pod.IPs, Local: cfg.Local != nil},
		},
	}
	p.env.Log = p.log
	if p.origDst == nil {
		p.origDst = kernelOrigDst
	}

	// 2. Where configuration and identity come from.
	if err := p.connectControl(); err != nil {
		return nil, err
	}
	var err error
	if p.idle, err = idle.New(); err != nil {
		return nil, err
	}

	if p.env.Tracer, err = trace.FromSettings(&cfg.Settings, p.env.Certs, trace.Source{
		Namespace: cfg.Pod.Namespace, Pod: cfg.Pod.Name, Node: cfg.Pod.Node, Version: cfg.Version, Log: p.log.Named("trace"),
	}); err != nil {
		return nil, err
	}

	// 3. The directions, and the reviewer of their connections.
	p.reviewer = reverify.New(p.env)
	p.outbound = outbound.New(outbound.Config{
		Env: p.env, Reviewer: p.reviewer, Idle: p.idle, Source: p.source, MaxHeadBytes: cfg.Settings.MaxHeaderListBytes,
	})
	p.inbound = inbound.New(inbound.Config{
		Env: p.env, Reviewer: p.reviewer, MaxHeadBytes: cfg.Settings.MaxHeaderListBytes,
		AccessLogFormat: cfg.Settings.AccessLog, AccessLog: cfg.AccessLog, Policy: p.initialPolicy(),
	})
	p.reviewer.WatchEngine(stats.Outbound, p.outbound.Engine())
	p.reviewer.WatchEngine(stats.Inbound, p.inbound.Engine())
	p.admin = &admin{proxy: p, log: p.log.Named("admin"), shutdown: make(chan struct{})}
	if err := p.addTap(); err != nil {
		return nil, err
	}
	p.addMetrics()
	return p, nil
}

// connectControl makes the clients that get the proxy's configuration and identity; they connect in Run.
func (p *Proxy) connectControl() error {
	if p.cfg.Local != nil {
		var err error
		p.fixed, err = newFixedSource(p.cfg.Local)
		p.source, p.env.Certs = p.fixed, p.cfg.Local.Certs
		return err
	}
	s, pod := &p.cfg.Settings, &p.cfg.Pod
	if p.env.Certs = p.cfg.Certs; p.env.Certs == nil {
		asked, answered := p.countCalls(s.IdentityAddr, p.controlID(mesh.IdentityName))
		p.env.Certs = workload.New(workload.Config{
			ID:   mesh.ID{TrustDomain: s.TrustDomain, Namespace: pod.Namespace, ServiceAccount: pod.ServiceAccount},
			Addr: s.IdentityAddr, Server: p.controlID(mesh.IdentityName),
			TokenFile: s.TokenFile, TrustRootsFile: s.TrustRootsFile, Log: p.log.Named("certs"),
			Called: func(took time.Duration, code int16) {
				asked()
				answered(took, code)
			},
		})
	}
	asked, answered := p.countCalls(s.DestinationAddr, p.controlID(mesh.DestinationName))
	p.control = control.New(control.Config{
		Addr: s.DestinationAddr, TLS: p.env.Certs.ClientTLS(p.controlID(mesh.DestinationName), "h2"),
		Namespace: pod.Namespace, Pod: pod.Name, Node: pod.Node, Version: p.cfg.Version,
		Changed: func(t mesh.Target) { p.outbound.Refresh(t) }, Asked: asked, Answered: answered, Log: p.log.Named("control"),
	})
	p.source = p.control
	return nil
}

// controlID returns the identity of a part of the control plane.
func (p *Proxy) controlID(name string) mesh.ID {
	s := &p.cfg.Settings
	return mesh.ID{TrustDomain: s.TrustDomain, Namespace: s.ControlPlaneNamespace, ServiceAccount: name}
}

// runControl connects to the destination controller once the proxy has a certificate.
func (p *Proxy) runControl(ctx context.Context) error {
	select {
	case <-p.env.Certs.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.control.Run(ctx)
}

// initialPolicy returns the policy that is active until discovery has answered: the configured default, for every port.
func (p *Proxy) initialPolicy() *authz.Policy {
	if value, seq := p.source.Inbound().Load(); seq > 0 { // in local mode
		return authz.Compile(value, p.cfg.Pod.HostIPs)
	}
	return authz.Compile(&mesh.Inbound{Default: mesh.PortPolicy{Policy: p.cfg.Settings.DefaultInboundPolicy}}, nil)
}

// Running returns a channel that is closed once every listener is bound.
func (p *Proxy) Running() <-chan struct{} { return p.running }

// Addresses returns where the proxy listens; call it after Running.
func (p *Proxy) Addresses() Addresses { return p.bound }

// Run serves until ctx ends, and then drains. It returns nil after an orderly end.
func (p *Proxy) Run(ctx context.Context) error {
	// 1. Bind every listener before any is served.
	if err := p.listen(); err != nil {
		p.closeListeners()
		return err
	}
	if err := errors.Join(p.admin.listen(), p.listenTap()); err != nil {
		p.closeListeners()
		return err
	}
	p.env.Self.Ports = []uint16{
		p.bound.Outbound.Port(), p.bound.Inbound.Port(), p.cfg.Settings.ControlPort, p.cfg.Settings.AdminPort,
	}
	p.env.Self.LocalInbound = p.bound.Local.Inbound
	close(p.running)
	for _, l := range p.listeners {
		p.log.Info("listening", zap.String("direction", string(l.direction)), zap.Stringer("addr", l.Addr()))
	}

	// 2. Start. What must outlive the drain has a context of its own. Connections have another, which the drain's end
	// cancels.
	groupCtx, stopGroup := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGroup()
	connCtx, cutConns := context.WithCancel(groupCtx)
	defer cutConns()
	group, failedCtx := errgroup.WithContext(groupCtx) // failedCtx ends when a part fails; the others run on
	for _, run := range p.parts() {
		group.Go(func() error { return ignoreCanceled(run(groupCtx)) })
	}
	var accepting sync.WaitGroup
	for _, l := range p.listeners {
		accepting.Go(func() { _ = p.accept(connCtx, l) })
	}

	// 3. Serve until told to stop.
	select {
	case <-ctx.Done():
		p.log.Info("stopping", zap.Duration("waitBeforeExit", p.env.Times.WaitBeforeExit))
		wait(failedCtx, p.env.Times.WaitBeforeExit)
	case <-p.admin.shutdown:
		p.log.Info("stopping on request")
	case <-failedCtx.Done():
		p.log.Error("a part of the proxy failed")
	}

	// 4. Drain, then end what served the drain.
	p.closeListeners()
	accepting.Wait()
	p.drain(cutConns)
	stopGroup()
	return group.Wait()
}

// parts returns what runs besides the listeners.
func (p *Proxy) parts() []func(context.Context) error {
	run := []func(context.Context) error{
		p.outbound.Engine().Run, p.inbound.Engine().Run, p.admin.serve, p.followPolicy, p.sweep, p.idle.Run, p.idle.Trim,
	}
	if p.env.Certs != nil {
		run = append(run, p.reviewer.Run)
	}
	if p.tap != nil {
		run = append(run, p.tap.Run)
	}
	if p.env.Tracer != nil {
		run = append(run, p.env.Tracer.Run)
	}
	if p.control != nil {
		run = append(run, p.env.Certs.Run, p.runControl)
	}
	return run
}

// followPolicy activates every new inbound policy. A moment later it cuts the connections that still carry what the
// policy denies.
func (p *Proxy) followPolicy(ctx context.Context) error {
	cell := p.source.Inbound()
	var seen uint64
	var due time.Time // when to recheck the open connections; zero: not at all
	for {
		value, seq, err := waitUntil(ctx, cell, seen, due)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil: // due
			due = p.inbound.Recheck(time.Now())
			continue
		}
		if p.env.Certs != nil {
			p.env.Certs.Revoke(value.Revoked)
		}
		again := p.inbound.SetPolicy(authz.Compile(value, p.cfg.Pod.HostIPs))
		if due.IsZero() || again.Before(due) {
			due = again
		}
		p.log.Info("inbound policy", zap.String("default", string(value.Default.Policy)), zap.Int("ports", len(value.Ports)))
		if seen == 0 { // the start is over: return the memory that only it needed
			debug.FreeOSMemory()
		}
		seen = seq
	}
}

// waitUntil is cell.Wait that returns context.DeadlineExceeded at the given time; the zero time is never.
func waitUntil[T any](ctx context.Context, cell *latest.Cell[T], seen uint64, due time.Time) (T, uint64, error) {
	if !due.IsZero() {
		bounded, cancel := context.WithDeadline(ctx, due)
		defer cancel()
		ctx = bounded
	}
	return cell.Wait(ctx, seen)
}

// sweepInterval is how often the proxy looks for idle targets and metrics.
const sweepInterval = time.Minute

// sweep forgets idle targets and metrics.
func (p *Proxy) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		p.env.Stats.Sweep(p.env.Now())
		if p.staleFor() == 0 {
			p.outbound.Sweep(p.env.Times.TargetIdle)
		}
	}
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (p *Proxy) closeListeners() {
	for _, l := range p.listeners {
		_ = l.Close()
	}
}
