// Package connlimit bounds how many connections a listener has open.
//
// It owns a bound for each address and one for all together. It must not import any package of Tulle. The one idea: a
// connection beyond the bounds is closed before a handshake.
package connlimit

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Bounds are the numbers of connections that may be open at once.
type Bounds struct {
	Total, PerAddress int
	// Evict makes room for a new connection if there are too many: the oldest connection of its address is closed if the
	// address has too many, otherwise the oldest of the address with the most. Evict is for servers of short requests:
	// many addresses together must not keep out one that comes with a single connection, and connections that wait for
	// nothing must not keep out others of their address. Without Evict the new connection is closed.
	Evict bool
	// Known is the number of connections that Admit may move out of Total. It is 0 for a server that never does.
	Known int
}

// Bounded returns a listener that closes connections beyond the bounds, and calls refused for each.
func Bounded(l net.Listener, b Bounds, refused func()) net.Listener {
	return &bounded{Listener: l, bounds: b, refused: refused, byAddr: map[netip.Addr][]*boundedConn{}}
}

type bounded struct {
	net.Listener
	bounds  Bounds
	refused func()

	mu       sync.Mutex // guards the fields below
	total    int        // without the known ones
	known    int
	accepted uint64
	byAddr   map[netip.Addr][]*boundedConn // oldest first
}

// Accept implements net.Listener.
func (l *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &boundedConn{Conn: conn, listener: l}
		if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			c.addr = ap.Addr().Unmap()
		}
		evicted, ok := l.admit(c)
		if evicted != nil {
			l.refused()
			_ = evicted.Conn.Close()
		}
		if ok {
			return c, nil
		}
		l.refused()
		_ = conn.Close()
	}
}

// admit reports whether there is room for c. evicted is the connection that must be closed for it, or nil.
func (l *bounded) admit(c *boundedConn) (evicted *boundedConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.byAddr[c.addr]
	addressFull, full := len(own) >= l.bounds.PerAddress, l.total >= l.bounds.Total
	switch {
	case !addressFull && !full:
	case !l.bounds.Evict:
		return nil, false
	case addressFull:
		evicted = own[0]
	default:
		evicted = l.oldestOfBusiest()
	}
	if evicted != nil {
		l.remove(evicted)
	}
	l.total++
	l.accepted++
	c.number = l.accepted
	l.byAddr[c.addr] = append(l.byAddr[c.addr], c)
	return evicted, true
}

// oldestOfBusiest returns the oldest connection of the address with the most connections. At least one must be open.
func (l *bounded) oldestOfBusiest() *boundedConn {
	var busiest []*boundedConn
	for _, conns := range l.byAddr {
		if len(conns) > len(busiest) || len(conns) == len(busiest) && conns[0].number < busiest[0].number {
			busiest = conns
		}
	}
	return busiest[0]
}

// remove removes a connection from the counts. It returns false if it was removed before.
func (l *bounded) remove(c *boundedConn) bool {
	if c.known {
		c.known = false
		l.known--
		return true
	}
	conns := l.byAddr[c.addr]
	i := slices.Index(conns, c)
	if i < 0 {
		return false
	}
	l.total--
	if conns = slices.Delete(conns, i, i+1); len(conns) == 0 {
		delete(l.byAddr, c.addr)
		return true
	}
	l.byAddr[c.addr] = conns
	return true
}

// Admit moves a connection of a Bounded listener to the places of known clients. It returns false if all of them are
// taken. A server calls it once it knows the client: from then on nothing evicts the connection, and clients that the
// server does not know cannot take its place.
func Admit(c net.Conn) bool {
	b, ok := c.(*boundedConn)
	if !ok {
		return true
	}
	l := b.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.known {
		return true
	}
	if l.known >= l.bounds.Known || !l.remove(b) {
		return false
	}
	b.known = true
	l.known++
	return true
}

type boundedConn struct {
	net.Conn
	listener *bounded
	addr     netip.Addr
	number   uint64 // counts accepted connections
	known    bool   // the listener's lock guards it
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.listener.mu.Lock()
	c.listener.remove(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
