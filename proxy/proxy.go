// Package proxy is the sidecar: it accepts the connections that are redirected to it, finds out where they belong and what they
// speak, and forwards them over mutual TLS.
//
// It owns listeners, discovery of what serves an address, policy, answers in an application's place, admin and drain. It must not
// import Kubernetes or the control plane. The one idea: packages below it decide (detect, balance, authz) or move bytes (forward,
// relay), and this one joins them; its files read in the order of a connection's life, which docs/request.md tells.
package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/internal/certs"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/control"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Proxy is one sidecar. Make it with New; Run may be called once.
type Proxy struct {
	cfg     Config
	times   times
	log     *zap.Logger
	started time.Time

	certs     *certs.Manager // nil without mesh TLS
	stats     *stats.Registry
	source    source
	control   *control.Client // source, in a pod
	fixed     *fixed          // source, in local mode
	outbound  *outbound
	inbound   *inbound
	failures  retry.Failures // of the application's calls
	accessLog *accessLog
	admin     *admin
	conns     tracker
	lot       *lot
	lapses    *lapses

	original  func(*net.TCPConn) (netip.AddrPort, error)
	listeners []*listener
	bound     Running
	running   chan struct{}
}

// Running says where a proxy listens.
type Running struct {
	Outbound, Inbound, Admin netip.AddrPort
	// Local holds the addresses of a local configuration's listeners, in its order.
	Local struct{ Outbound, Inbound []netip.AddrPort }
}

// New makes a proxy; it does nothing before Run.
func New(cfg Config) (*Proxy, error) {
	p := &Proxy{
		cfg: cfg, times: timesOf(&cfg.Settings), log: cfg.Log.Named("proxy"), started: time.Now(),
		stats: stats.NewRegistry(), original: cfg.Original, running: make(chan struct{}),
	}
	if p.original == nil {
		p.original = originalDst
	}
	p.accessLog = newAccessLog(cfg.Settings.AccessLog, cfg.AccessLog, p.log)
	p.outbound = &outbound{proxy: p, log: p.log.Named("outbound")}
	p.inbound = &inbound{proxy: p, log: p.log.Named("inbound"), apps: map[netip.AddrPort]*app{}, open: map[*openConn]struct{}{},
		limiters: limiters{byRef: map[mesh.Ref]*limit.Limiter{}}}
	p.outbound.events = events{log: p.outbound.log, now: p.now}
	p.inbound.events = events{log: p.inbound.log, now: p.now}
	p.inbound.nonLocal = summary{log: p.inbound.log, now: p.now}
	p.outbound.engine = forward.New(forward.Config{
		ParkTimeout: p.times.failFast, IdleAfter: idleAfter, MaxHeadBytes: cfg.Settings.MaxHeaderListBytes, LocalClients: true,
		Report: p.reporter("outbound"), Ended: p.connEnded("outbound", &p.outbound.events),
	}, p.outbound)
	p.inbound.engine = forward.New(forward.Config{
		ParkTimeout: p.times.failFast, RestoreHTTP1: true, MaxHeadBytes: cfg.Settings.MaxHeaderListBytes,
		Report: p.reporter("inbound"), Ended: p.connEnded("inbound", &p.inbound.events),
	}, p.inbound)
	if err := p.connectControl(); err != nil {
		return nil, err
	}
	var err error
	if p.lot, err = newLot(p.log); err != nil {
		return nil, err
	}
	p.outbound.targets = &targets{proxy: p, source: p.source, byID: map[mesh.Target]*target{}}
	if p.certs != nil {
		p.inbound.muxTLS, p.inbound.tcpTLS = p.certs.ServerTLS(mesh.ALPNMux), p.certs.ServerTLS(mesh.ALPNRelay)
	}
	p.inbound.policy.Store(p.initialPolicy())
	p.lapses = newLapses(p)
	p.admin = &admin{proxy: p, log: p.log.Named("admin"), shutdown: make(chan struct{})}
	p.addMetrics()
	return p, nil
}

// connectControl makes what the proxy learns its configuration and identity from.
func (p *Proxy) connectControl() error {
	if p.cfg.Local != nil {
		var err error
		p.fixed, err = newFixed(p.cfg.Local)
		p.source, p.certs = p.fixed, p.cfg.Local.Certs
		return err
	}
	s, pod := &p.cfg.Settings, &p.cfg.Pod
	if p.certs = p.cfg.Certs; p.certs == nil {
		asked, answered := p.questions(s.IdentityAddr, p.controlID(mesh.IdentityName))
		p.certs = certs.New(certs.Config{
			ID:   mesh.ID{TrustDomain: s.TrustDomain, Namespace: pod.Namespace, ServiceAccount: pod.ServiceAccount},
			Addr: s.IdentityAddr, Server: p.controlID(mesh.IdentityName),
			TokenFile: s.TokenFile, TrustRootsFile: s.TrustRootsFile, Log: p.log.Named("certs"),
			Called: func(took time.Duration, code int16) {
				asked()
				answered(took, code)
			},
		})
	}
	asked, answered := p.questions(s.DestinationAddr, p.controlID(mesh.DestinationName))
	p.control = control.New(control.Config{
		Addr: s.DestinationAddr, TLS: p.certs.ClientTLS(p.controlID(mesh.DestinationName), "h2"),
		Namespace: pod.Namespace, Pod: pod.Name, Node: pod.Node, Version: p.cfg.Version,
		Changed: p.outbound.changed, Asked: asked, Answered: answered, Log: p.log.Named("control"),
	})
	p.source = p.control
	return nil
}

// controlID returns the identity of a part of the control plane.
func (p *Proxy) controlID(name string) mesh.ID {
	s := &p.cfg.Settings
	return mesh.ID{TrustDomain: s.TrustDomain, Namespace: s.ControlPlaneNamespace, ServiceAccount: name}
}

// runControl connects to the destination controller once there is an identity to connect with.
func (p *Proxy) runControl(ctx context.Context) error {
	select {
	case <-p.certs.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.control.Run(ctx)
}

// initialPolicy holds until discovery has answered: the configured default, for every port.
func (p *Proxy) initialPolicy() *authz.Policy {
	if value, seq := p.source.Inbound().Load(); seq > 0 { // without a control plane there is nothing to wait for
		return authz.Compile(value, p.cfg.Pod.HostIPs)
	}
	return authz.Compile(&mesh.Inbound{Default: mesh.PortPolicy{Policy: p.cfg.Settings.DefaultInboundPolicy}}, nil)
}

// reporter counts the faults that belong to no request.
func (p *Proxy) reporter(direction string) func(*exchange.Conn, exchange.Fault) {
	family := stats.OutboundHTTPErrors
	if direction == "inbound" {
		family = stats.InboundHTTPErrors
	}
	return func(_ *exchange.Conn, f exchange.Fault) { p.countFault(family, direction, f) }
}

// Running is closed once every listener is bound; Addresses tells where.
func (p *Proxy) Running() <-chan struct{} { return p.running }

// Addresses returns where the proxy listens; call it after Running.
func (p *Proxy) Addresses() Running { return p.bound }

// Run serves until ctx ends, and then drains. It returns nil after an orderly end.
func (p *Proxy) Run(ctx context.Context) error {
	// 1. Bind everything before anything is promised.
	if err := p.listen(); err != nil {
		p.closeListeners()
		return err
	}
	if err := p.admin.listen(); err != nil {
		p.closeListeners()
		return err
	}
	close(p.running)
	for _, l := range p.listeners {
		p.log.Info("listening", zap.String("direction", l.direction), zap.Stringer("addr", l.Addr()))
	}

	// 2. What must outlive the drain has a context of its own; connections have another, which the drain's end cancels.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	conns, cut := context.WithCancel(life)
	defer cut()
	background, failed := errgroup.WithContext(life)
	for _, run := range p.background() {
		background.Go(func() error { return ignoreCanceled(run(life)) })
	}
	var accepting sync.WaitGroup
	for _, l := range p.listeners {
		accepting.Go(func() { _ = p.accept(conns, l) })
	}

	// 3. Serve until told to stop.
	select {
	case <-ctx.Done():
		p.log.Info("stopping", zap.Duration("waitBeforeExit", p.times.waitBeforeExit))
		wait(failed, p.times.waitBeforeExit)
	case <-p.admin.shutdown:
		p.log.Info("stopping on request")
	case <-failed.Done():
		p.log.Error("a part of the proxy failed")
	}

	// 4. Drain, then end what served the drain.
	p.closeListeners()
	accepting.Wait()
	p.drain(cut)
	end()
	return background.Wait()
}

// background returns what runs beside the listeners.
func (p *Proxy) background() []func(context.Context) error {
	run := []func(context.Context) error{
		p.outbound.engine.Run, p.inbound.engine.Run, p.admin.serve, p.followPolicy, p.sweep, p.lot.Run, p.lot.trim,
	}
	if p.certs != nil {
		run = append(run, p.lapses.run)
	}
	if p.control != nil {
		run = append(run, p.certs.Run, p.runControl)
	}
	return run
}

// followPolicy makes every new inbound policy the one in force, and looks a moment later whom it has left behind.
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
			due = p.inbound.recheck(time.Now())
			continue
		}
		again := p.inbound.setPolicy(authz.Compile(value, p.cfg.Pod.HostIPs))
		if due.IsZero() || again.Before(due) {
			due = again
		}
		p.log.Info("inbound policy", zap.String("default", string(value.Default.Policy)), zap.Int("ports", len(value.Ports)))
		if seen == 0 { // starting is over: what it alone needed goes back to the system
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

// sweepInterval is how often idle targets and metrics are looked for.
const sweepInterval = time.Minute

// sweep forgets what nobody has used for long.
func (p *Proxy) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		p.stats.Sweep(p.now())
		if p.staleFor() == 0 {
			p.outbound.targets.sweep(p.times.outboundIdle)
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

// now is the time on the proxy's own monotonic clock.
func (p *Proxy) now() time.Duration { return time.Since(p.started) }

// isOwn reports whether an address is this pod's.
func (p *Proxy) isOwn(a netip.Addr) bool { return slices.Contains(p.cfg.Pod.IPs, a) }

// serves reports whether connections that arrive for an address are for this pod. The kernel redirects what a neighbour sends, whatever
// its destination; the proxy must not connect to another host for it, nor to loopback, whose listeners are for the pod itself.
func (p *Proxy) serves(a netip.Addr) bool {
	switch {
	case p.cfg.Local != nil, p.isOwn(a): // a local listener has its destination from the configuration
		return true
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return false
	}
	local, err := isLocal(a)
	if err != nil {
		p.inbound.events.info("cannot tell whether an address is the pod's", zap.Stringer("addr", a), zap.Error(err))
	}
	return local
}

// isOwnPort reports whether a connection to an address would come back to this proxy.
func (p *Proxy) isOwnPort(a netip.AddrPort) bool {
	if p.cfg.Local != nil {
		return slices.Contains(p.bound.Local.Inbound, a) // an outbound listener's address is its target's name
	}
	return (p.isOwn(a.Addr()) || a.Addr().IsLoopback() || a.Addr().IsUnspecified()) && p.servesPort(a.Port())
}

// servesPort reports whether a port of the pod is the proxy's.
func (p *Proxy) servesPort(port uint16) bool {
	s := &p.cfg.Settings
	switch port {
	case p.bound.Outbound.Port(), p.bound.Inbound.Port(), s.ControlPort, s.AdminPort:
		return true
	default:
		return false
	}
}

// detectTime bounds the wait for a connection's first bytes. A port that declares HTTP never waits for the server to speak, so there
// is no hurry.
func (p *Proxy) detectTime(declared mesh.Protocol, otherwise time.Duration) time.Duration {
	if declared == mesh.HTTP1 || declared == mesh.HTTP2 {
		return p.times.declared
	}
	return otherwise
}

// countOpen counts a connection as open until the returned function is called with how it ended.
func (p *Proxy) countOpen(t *stats.TCP) (closed func(error)) {
	began := p.now()
	t.Opened.Add(1)
	t.Open.Add(1)
	return func(err error) {
		t.Open.Add(-1)
		t.Close(p.now()-began, err)
	}
}
