package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Values of the label "error" of connections that are refused before a direction serves them.
const (
	errorNoOrigDst    = "no_original_destination"
	errorTooManyConns = "too_many_connections"
)

// listener accepts connections of one direction.
type listener struct {
	*net.TCPListener
	direction stats.Direction
	// origDst returns the original destination of a connection: where its client wanted to go.
	origDst func(*net.TCPConn) (netip.AddrPort, error)
	serve   serveFunc
}

// listen binds every listener of the configuration.
func (p *Proxy) listen() error {
	if p.cfg.Local != nil {
		return p.listenLocal(p.cfg.Local)
	}
	s := &p.cfg.Settings
	loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	anywhere := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	var err error
	if p.bound.Outbound, err = p.listenBoth(stats.Outbound, loopback, s.OutboundPort, p.outbound.Serve); err != nil {
		return err
	}
	p.bound.Inbound, err = p.listenBoth(stats.Inbound, anywhere, s.InboundPort, p.inbound.Serve)
	return err
}

// serveFunc serves a connection to origDst to its end, or until it moves into a pool of idle connections.
type serveFunc = func(ctx context.Context, owner *idle.Owner, origDst netip.AddrPort)

// listenBoth binds a port on an IPv4 address, and on an IPv6 address if the system has IPv6. Port 0 lets the system
// choose one that is free on both.
func (p *Proxy) listenBoth(
	direction stats.Direction, addrs []netip.Addr, port uint16, serve serveFunc,
) (first netip.AddrPort, err error) {
	const tries = 10
	for range tries {
		had := len(p.listeners)
		if first, err = p.listenPort(direction, addrs, port, serve); port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return first, err
		}
		for _, l := range p.listeners[had:] { // a port that is free on one address may be taken on the other
			_ = l.Close()
		}
		p.listeners = p.listeners[:had]
	}
	return first, err
}

func (p *Proxy) listenPort(
	direction stats.Direction, addrs []netip.Addr, port uint16, serve serveFunc,
) (netip.AddrPort, error) {
	var first netip.AddrPort
	for i, a := range addrs {
		network := "tcp4"
		if a.Is6() {
			network = "tcp6" // IPv6 alone: each family has its own socket option for the original destination
		}
		l, err := p.bind(network, netip.AddrPortFrom(a, port))
		if i > 0 && isNoIPv6(err) {
			p.log.Info("no IPv6 here", zap.String("direction", string(direction)))
			continue
		}
		if err != nil {
			return first, fmt.Errorf("listen %s: %w", direction, err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		if i == 0 {
			first, port = addr, addr.Port()
		}
		p.listeners = append(p.listeners, &listener{TCPListener: l, direction: direction, origDst: p.origDst, serve: serve})
	}
	return first, nil
}

func isNoIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

func (p *Proxy) bind(network string, addr netip.AddrPort) (*net.TCPListener, error) {
	return net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
}

// listenLocal binds the listeners of a local configuration.
func (p *Proxy) listenLocal(local *Local) error {
	for i, o := range local.Outbound {
		l, err := p.bind("tcp", o.Listen)
		if err != nil {
			return fmt.Errorf("listen outbound %d: %w", i, err)
		}
		key := env.Unmap(l.Addr().(*net.TCPAddr).AddrPort())
		p.fixed.add(key, o.Value)
		p.addLocal(l, stats.Outbound, key, p.outbound.Serve)
		p.bound.Local.Outbound = append(p.bound.Local.Outbound, key)
	}
	for i, in := range local.Inbound {
		l, err := p.bind("tcp", in.Listen)
		if err != nil {
			return fmt.Errorf("listen inbound %d: %w", i, err)
		}
		p.addLocal(l, stats.Inbound, in.AppAddr, p.inbound.Serve)
		p.bound.Local.Inbound = append(p.bound.Local.Inbound, env.Unmap(l.Addr().(*net.TCPAddr).AddrPort()))
	}
	return nil
}

func (p *Proxy) addLocal(l *net.TCPListener, direction stats.Direction, origDst netip.AddrPort, serve serveFunc) {
	p.listeners = append(p.listeners, &listener{
		TCPListener: l, direction: direction, serve: serve,
		origDst: func(*net.TCPConn) (netip.AddrPort, error) { return origDst, nil },
	})
}

// accept serves connections until the listener is closed. ctx is the context that connections live in; it outlasts
// the listener.
func (p *Proxy) accept(ctx context.Context, l *listener) error {
	backoff := time.Duration(0)
	for {
		conn, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of descriptors or memory: try again, because open connections end
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			p.log.Error("accept failed", zap.String("direction", string(l.direction)), zap.Error(err))
			p.env.Stats.ConnFailed(l.direction, "accept")
			wait(ctx, backoff)
			continue
		}
		backoff = 0
		owner := p.conns.admit(conn, l.direction)
		if owner == nil {
			p.env.Stats.ConnFailed(l.direction, errorTooManyConns)
			env.Reset(conn)
			continue
		}
		go func() {
			defer owner.End()
			p.serveConn(ctx, l, owner)
		}()
	}
}

// serveConn finds the original destination of a connection and serves it.
func (p *Proxy) serveConn(ctx context.Context, l *listener, owner *idle.Owner) {
	origDst, err := l.origDst(owner.TCPConn)
	if err != nil {
		p.log.Warn("no original destination", zap.String("direction", string(l.direction)),
			zap.Stringer("client", owner.RemoteAddr()), zap.Error(err))
		p.env.Stats.ConnFailed(l.direction, errorNoOrigDst)
		env.Reset(owner.TCPConn)
		return
	}
	l.serve(ctx, owner, origDst)
}
