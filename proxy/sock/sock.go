// Package sock makes connections cheap to read and write in batches, with or without crypto/tls.
//
// It owns Conn, a net.Conn that can also be driven without blocking, and the pool of buffers. It must not import any
// package of the proxy and knows nothing about the meaning of the bytes. The one idea: one system call for everything
// that is ready, and no buffer while nothing is.
//
// Pump stays inside one RawConn.Read, so that it misses no edge of epoll. It asks the kernel how much is left
// (TCP_INQ), so that no read finds nothing. It takes a buffer only when the socket is readable. TrySend seals
// everything into one buffer and writes it at once. If the socket does not accept all of it, Send finishes on a
// goroutine that may wait.
//
// crypto/tls needs a blocking connection below it. Conn gives it one whose Read returns a temporary error while there
// is no complete record. crypto/tls keeps its state over temporary errors, so a TLS connection can be driven by
// readiness too.
package sock

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection that Pump and TrySend drive without blocking. As a net.Conn it blocks like any other: one
// goroutine may read while another writes. Do not call Read once Pump runs.
type Conn struct {
	nc  net.Conn
	rc  syscall.RawConn // nil if nc is not a socket: then Pump and Send make blocking calls
	tls *tls.Conn       // nil without TLS

	ahead  aheadBuffer // unread bytes from the socket; with TLS they are ciphertext
	pump   pump
	out    sendState
	pumped bool // Pump runs: transport.Read must not block
	// recLeft is how many bytes of the current TLS record transport.Read has yet to return; 0 between two records.
	recLeft int

	sealMu   sync.Mutex // guards the fields below: a reader may have to send an alert or KeyUpdate while a writer seals
	deferred bool       // transport.Write collects into sealed
	sealed   []byte     // ciphertext that the socket did not accept yet
	sealBuf  *Large     // the pooled buffer of sealed, or nil
}

// New wraps a connection. prefix has the bytes that were already read from it. If nc is a *Conn, New returns nc with
// prefix unread again.
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

// Server performs the server's side of a TLS handshake over c and returns c, which then reads and writes plaintext. The
// configuration should disable session tickets and dynamic record sizing: both cost system calls.
func Server(ctx context.Context, c *Conn, cfg *tls.Config) (*Conn, error) {
	return c.handshake(ctx, tls.Server((*transport)(c), cfg))
}

// Client performs the client's side of a TLS handshake over c and returns c, which then reads and writes plaintext.
func Client(ctx context.Context, c *Conn, cfg *tls.Config) (*Conn, error) {
	return c.handshake(ctx, tls.Client((*transport)(c), cfg))
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

// Secure reports whether c, or a Conn below it, uses TLS.
func (c *Conn) Secure() bool { return c.secured() != nil }

// secured returns the TLS connection of c, or of a Conn below it: a Conn may be wrapped to peek at its first bytes.
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

// NetConn returns the underlying connection, for its socket options and addresses.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.tls != nil {
		n, err := c.tls.Read(p)
		if c.Unsent() {
			_, _ = c.Send(nil) // what crypto/tls wrote by itself; the next Write or Read returns an error if this fails
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

// CloseWrite ends the sending direction: close_notify with TLS, then FIN. Nothing may wait to be sent.
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

// Close closes the connection at once. A running Pump or Send returns an error. Close waits for it, so a Receiver must
// not call Close.
func (c *Conn) Close() error { return c.nc.Close() }

// Abort ends the connection in both directions and never waits. Pump and Send return; then the owner must call Close to
// free the descriptor. With reset the peer gets a TCP reset, which destroys the bytes that it has not read; otherwise
// it gets a FIN.
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
