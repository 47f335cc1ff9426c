// Package listen bounds how many connections a listener of the control plane has open, of one address and of all together.
//
// It must not import any package of Tulle. The one idea: a connection too many is closed before a handshake is spent on it.
package listen

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds says how many connections may be open at once.
type Bounds struct {
	Total, PerAddress int
}

// Bounded returns a listener that closes what l accepts beyond the bounds, and calls refused for each.
func Bounded(l net.Listener, b Bounds, refused func()) net.Listener {
	return &bounded{Listener: l, bounds: b, refused: refused, byAddr: map[netip.Addr]int{}}
}

type bounded struct {
	net.Listener
	bounds  Bounds
	refused func()

	mu     sync.Mutex // guards the fields below
	total  int
	byAddr map[netip.Addr]int
}

// Accept implements net.Listener.
func (l *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var addr netip.Addr
		if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			addr = ap.Addr().Unmap()
		}
		if l.admit(addr) {
			return &boundedConn{Conn: conn, release: sync.OnceFunc(func() { l.release(addr) })}, nil
		}
		l.refused()
		_ = conn.Close()
	}
}

func (l *bounded) admit(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.bounds.Total || l.byAddr[addr] >= l.bounds.PerAddress {
		return false
	}
	l.total++
	l.byAddr[addr]++
	return true
}

func (l *bounded) release(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.byAddr[addr]--; l.byAddr[addr] == 0 {
		delete(l.byAddr, addr)
	}
}

type boundedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
