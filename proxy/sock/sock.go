// Package sock makes connections cheap to read and write in batches, with crypto/tls above them when wanted.
//
// It owns Conn, a net.Conn that can also be driven without blocking, and the pool of buffers. It must not import
// anything of the proxy and knows nothing of what the bytes mean. The one idea: one system call for everything that is
// ready, and no buffer while nothing is. Reading: Pump stays inside one RawConn.Read, so that an edge of epoll is never
// lost, asks the kernel how much is left (TCP_INQ), so that it never reads in vain, and takes a buffer only once the
// socket is readable. Writing: TrySend seals everything into one buffer and gives it to the kernel at once; what does
// not fit, Send finishes on a goroutine that may wait.
//
// crypto/tls wants a blocking connection below; Conn gives it one whose Read returns a temporary error when the
// read-ahead holds no complete record. crypto/tls keeps its state over temporary errors, so that a TLS connection can
// be driven by readiness too.
package sock

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection that Pump and TrySend drive without blocking. As a net.Conn it blocks like any other; one
// goroutine may read while another writes. Pump and Read must not be mixed once Pump runs.
type Conn struct {
	nc  net.Conn
	rc  syscall.RawConn // nil when nc is no socket: then Pump reads and Send writes by blocking calls
	tls *tls.Conn       // nil without TLS

	ahead  aheadBuffer // bytes that were read from the socket; with TLS they are ciphertext
	pump   pump
	out    sendState
	pumped bool // Pump runs: under.Read must not block
	// recLeft is how many bytes of the current TLS record under.Read has yet to hand out; 0 between two records.
	recLeft int

	sealMu   sync.Mutex // guards the fields below: a reader may have to answer (alert, KeyUpdate) while a writer seals
	deferred bool       // under.Write collects into sealed
	sealed   []byte     // ciphertext that the socket did not take yet
	sealBuf  *Large     // what sealed lies in, if it is pooled
}

// New wraps a connection whose first bytes, prefix, were read from it already. If nc is a *Conn itself, it gets them
// back.
func New(nc net.Conn, prefix []byte) *Conn {
	c, ok := nc.(*Conn)
	if !ok {
		c = &Conn{nc: nc}
		if s, ok := nc.(syscall.Conn); ok {
			if rc, err := s.SyscallConn(); err == nil {
				c.rc = rc
			}
		}
		c.pump.c = c
		c.out.init(c)
	}
	c.ahead.unread(prefix)
	return c
}

// Server performs the server's side of a TLS handshake over c and returns c, which speaks plaintext above it from then
// on. The configuration should disable session tickets and dynamic record sizing; both cost system calls.
func Server(ctx context.Context, c *Conn, cfg *tls.Config) (*Conn, error) {
	return c.handshake(ctx, tls.Server((*under)(c), cfg))
}

// Client performs the client's side of a TLS handshake over c and returns c, which speaks plaintext above it from then
// on.
func Client(ctx context.Context, c *Conn, cfg *tls.Config) (*Conn, error) {
	return c.handshake(ctx, tls.Client((*under)(c), cfg))
}

func (c *Conn) handshake(ctx context.Context, t *tls.Conn) (*Conn, error) {
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	c.tls, c.deferred = t, true
	return c, nil
}

// TLS returns the state of the TLS connection; ok is false without TLS.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	t := c.secured()
	if t == nil {
		return tls.ConnectionState{}, false
	}
	return t.ConnectionState(), true
}

// Secure reports whether there is TLS, in c or in a Conn below it.
func (c *Conn) Secure() bool { return c.secured() != nil }

// secured finds the TLS of a Conn that was wrapped, so that its first bytes could be looked at, and is a Conn again.
func (c *Conn) secured() *tls.Conn {
	if c.tls != nil {
		return c.tls
	}
	if wrapped, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		if below, ok := wrapped.NetConn().(*Conn); ok {
			return below.secured()
		}
	}
	return nil
}

// Plain reports whether c is a socket without TLS.
func (c *Conn) Plain() bool { return c.tls == nil && c.rc != nil }

// NetConn returns the connection below, for its socket options and addresses.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.tls != nil {
		n, err := c.tls.Read(p)
		if c.Unsent() {
			_, _ = c.Send(nil) // what crypto/tls answered by itself; if that fails, the next Write or Read will say so
		}
		return n, err
	}
	if c.ahead.len() > 0 {
		return c.ahead.read(p), nil
	}
	return c.nc.Read(p)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) { return c.Send([][]byte{p}) }

// CloseWrite tells the peer that nothing more will be sent: close_notify with TLS, then FIN. Nothing may be waiting to
// be sent.
func (c *Conn) CloseWrite() error {
	if c.tls != nil {
		if err := c.tls.CloseWrite(); err != nil {
			return err
		}
		if _, err := c.Send(nil); err != nil {
			return err
		}
	}
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.nc.Close()
}

// Close closes the connection at once. A Pump or Send that is running returns an error; Close waits for it, and must
// therefore not be called by a Receiver.
func (c *Conn) Close() error { return c.nc.Close() }

// Abort ends the connection in both directions and never waits: Pump and Send return, and then Close must free the
// descriptor. With reset the peer gets a TCP reset, which destroys what it has not read, otherwise a FIN.
func (c *Conn) Abort(reset bool) {
	if c.rc == nil {
		_ = c.nc.Close()
		return
	}
	if t, ok := c.nc.(*net.TCPConn); ok && reset {
		_ = t.SetLinger(0)
		_ = c.nc.SetDeadline(time.Unix(1, 0))
		return
	}
	shutdown(c.rc)
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }
