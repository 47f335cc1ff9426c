package identity

import (
	"net"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of what may be connected. A proxy connects for a moment, twice a day.
const (
	maxConns        = 4096
	maxConnsAddress = 64
)

// boundedListener closes connections that one address, or all together, have too many of, before a handshake is spent on them.
type boundedListener struct {
	net.Listener
	refused prometheus.Counter

	mu     sync.Mutex // guards the fields below
	total  int
	byAddr map[netip.Addr]int
}

func newBoundedListener(l net.Listener, refused prometheus.Counter) *boundedListener {
	return &boundedListener{Listener: l, refused: refused, byAddr: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
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
		l.refused.Inc()
		_ = conn.Close()
	}
}

func (l *boundedListener) admit(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.byAddr[addr] >= maxConnsAddress {
		return false
	}
	l.total++
	l.byAddr[addr]++
	return true
}

func (l *boundedListener) release(addr netip.Addr) {
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
