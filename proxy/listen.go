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

	"github.com/tulle-mesh/tulle/proxy/stats"
)

// listener accepts connections of one direction.
type listener struct {
	*net.TCPListener
	direction string
	// original returns where a connection wanted to go.
	original func(*net.TCPConn) (netip.AddrPort, error)
	serve    serveFunc
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
	if p.bound.Outbound, err = p.listenBoth("outbound", loopback, s.OutboundPort, p.outbound.serve); err != nil {
		return err
	}
	p.bound.Inbound, err = p.listenBoth("inbound", anywhere, s.InboundPort, p.inbound.serve)
	return err
}

// serveFunc serves a connection to its end, or until it is parked.
type serveFunc = func(ctx context.Context, conn *net.TCPConn, orig netip.AddrPort) (parked bool)

// listenBoth binds a port on an IPv4 and an IPv6 address; a system without IPv6 does without the second. Port 0 lets the system
// choose one that is free on both.
func (p *Proxy) listenBoth(direction string, addrs []netip.Addr, port uint16, serve serveFunc) (first netip.AddrPort, err error) {
	const tries = 10
	for range tries {
		had := len(p.listeners)
		if first, err = p.listenPort(direction, addrs, port, serve); port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return first, err
		}
		for _, l := range p.listeners[had:] { // what is free on one may be taken on the other
			_ = l.Close()
		}
		p.listeners = p.listeners[:had]
	}
	return first, err
}

func (p *Proxy) listenPort(direction string, addrs []netip.Addr, port uint16, serve serveFunc) (netip.AddrPort, error) {
	var first netip.AddrPort
	for i, a := range addrs {
		network := "tcp4"
		if a.Is6() {
			network = "tcp6" // IPv6 alone: each family has its own way to tell the original destination
		}
		l, err := p.bind(network, netip.AddrPortFrom(a, port))
		if i > 0 && isNoIPv6(err) {
			p.log.Info("no IPv6 here", zap.String("direction", direction))
			continue
		}
		if err != nil {
			return first, fmt.Errorf("listen %s: %w", direction, err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		if i == 0 {
			first, port = addr, addr.Port()
		}
		p.listeners = append(p.listeners, &listener{TCPListener: l, direction: direction, original: p.original, serve: serve})
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
		key := unmap(l.Addr().(*net.TCPAddr).AddrPort())
		p.fixed.add(key, o.Target)
		p.addLocal(l, "outbound", key, p.outbound.serve)
		p.bound.Local.Outbound = append(p.bound.Local.Outbound, key)
	}
	for i, in := range local.Inbound {
		l, err := p.bind("tcp", in.Listen)
		if err != nil {
			return fmt.Errorf("listen inbound %d: %w", i, err)
		}
		p.addLocal(l, "inbound", in.App, p.inbound.serve)
		p.bound.Local.Inbound = append(p.bound.Local.Inbound, unmap(l.Addr().(*net.TCPAddr).AddrPort()))
	}
	return nil
}

func (p *Proxy) addLocal(l *net.TCPListener, direction string, orig netip.AddrPort, serve serveFunc) {
	p.listeners = append(p.listeners, &listener{
		TCPListener: l, direction: direction, serve: serve,
		original: func(*net.TCPConn) (netip.AddrPort, error) { return orig, nil },
	})
}

// accept serves connections until the listener is closed. conns is the context that connections live in; it outlasts the listener.
func (p *Proxy) accept(conns context.Context, l *listener) error {
	backoff := time.Duration(0)
	for {
		conn, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // out of descriptors or memory: what is open goes on, and some of it will end
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			p.log.Error("accept failed", zap.String("direction", l.direction), zap.Error(err))
			p.countConnError(l.direction, "accept")
			wait(conns, backoff)
			continue
		}
		backoff = 0
		if !p.conns.run(conn, l.direction, func() bool { return p.serveConn(conns, l, conn) }) {
			p.countConnError(l.direction, errTooManyConns)
			reset(conn)
		}
	}
}

// serveConn finds out where the connection wanted to go and serves it.
func (p *Proxy) serveConn(ctx context.Context, l *listener, conn *net.TCPConn) (parked bool) {
	orig, err := l.original(conn)
	if err != nil {
		p.log.Warn("no original destination", zap.String("direction", l.direction), zap.Stringer("client", conn.RemoteAddr()), zap.Error(err))
		p.countConnError(l.direction, errOriginalDst)
		reset(conn)
		return false
	}
	return l.serve(ctx, conn, orig)
}

func (p *Proxy) countConnError(direction, reason string) {
	family := stats.OutboundTCPErrors
	if direction == "inbound" {
		family = stats.InboundTCPErrors
	}
	p.stats.Inc(family, stats.Labels("").With("direction", direction).With("error", reason))
}

// unmap writes an IPv4 address as such, however the socket shows it.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
