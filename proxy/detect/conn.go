package detect

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Conn is a connection whose first bytes can be peeked at: Read returns them first. As with any net.Conn, one goroutine
// may read while another writes. Only the reader may call Peeked, Fill and Sniff, before its first Read.
type Conn struct {
	net.Conn
	prefix []byte
	err    error // the error that ended peeking; Read returns it after the prefix
}

// NewConn returns a Conn that has not peeked yet.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Peeked returns the bytes that were peeked and not read yet. They are valid until the next Fill or Read.
func (c *Conn) Peeked() []byte { return c.prefix }

// EndedEmpty reports whether the connection ended, or broke, without bytes that are still to be read.
func (c *Conn) EndedEmpty() bool { return len(c.prefix) == 0 && c.err != nil }

// Silent reports whether no byte has come, and the connection has not ended.
func (c *Conn) Silent() bool { return len(c.prefix) == 0 && c.err == nil }

// NetConn returns the underlying connection. A reader of it misses the bytes that Peeked returns.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// peekBytes is the size of the first buffer of a peek. A request line, most request heads and every ClientHello without
// hybrid key shares fit in it.
const peekBytes = 2 << 10

// Fill waits for more bytes and adds them to Peeked. Without more bytes it returns io.EOF or another error of the
// connection. Read returns the same error after the peeked bytes, unless the error was a deadline's.
func (c *Conn) Fill() error {
	if c.err != nil {
		return c.err
	}
	if c.prefix == nil {
		c.prefix = make([]byte, 0, peekBytes)
	}
	if len(c.prefix) == cap(c.prefix) {
		c.prefix = append(make([]byte, 0, 2*cap(c.prefix)), c.prefix...)
	}
	n, err := c.Conn.Read(c.prefix[len(c.prefix):cap(c.prefix)])
	c.prefix = c.prefix[:len(c.prefix)+n]
	if n > 0 {
		err = nil // the next read returns it again
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.err = err
	}
	return err
}

// Read returns the peeked bytes first, then those of the connection.
func (c *Conn) Read(b []byte) (int, error) {
	switch {
	case len(c.prefix) > 0:
		n := copy(b, c.prefix)
		c.prefix = c.prefix[n:]
		if len(c.prefix) == 0 {
			c.prefix = nil
		}
		return n, nil
	case c.err != nil:
		return 0, c.err
	default:
		return c.Conn.Read(b)
	}
}

// CloseWrite ends the sending direction if the underlying connection can; otherwise it does nothing.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SyscallConn returns the descriptor of the underlying connection. Do not read from it while Peeked returns bytes.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, syscall.EINVAL
}

// Sniff peeks until the protocol is clear. It returns Opaque if the protocol is not clear within the timeout, if the
// peer ends its stream first, or if the peer sends nothing. A protocol in which the server speaks first looks like
// that. A prefix that stalled within a request is HTTP1, whose codec waits for the rest. An error is the connection's
// own.
func (c *Conn) Sniff(timeout time.Duration) (Kind, error) {
	kind := Undecided
	decided, err := c.peek(timeout, func() bool {
		kind = Classify(c.prefix)
		return kind != Undecided
	})
	switch {
	case decided:
	case c.err != nil: // the rest will never come
		kind = Opaque
	default:
		kind = ClassifyStalled(c.prefix)
	}
	return kind, err
}

// SniffHello peeks until a whole ClientHello has arrived. ok is false if the bytes are not a ClientHello, do not fit in
// MaxHello bytes, or are not complete within the timeout. An error is the connection's own.
func (c *Conn) SniffHello(timeout time.Duration) (hello Hello, ok bool, err error) {
	decided, err := c.peek(timeout, func() bool {
		var parseErr error
		hello, parseErr = ParseClientHello(c.prefix)
		ok = parseErr == nil
		return !errors.Is(parseErr, ErrShort) || len(c.prefix) >= MaxHello
	})
	return hello, ok && decided, err
}

// peek calls Fill until done reports true, the timeout passes, or the peer ends its stream. It clears the read
// deadline.
func (c *Conn) peek(timeout time.Duration, done func() bool) (decided bool, err error) {
	if len(c.prefix) > 0 && done() {
		return true, nil
	}
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return false, err
	}
	for !decided && err == nil {
		if err = c.Fill(); err == nil {
			decided = done()
		}
	}
	if len(c.prefix) == 0 {
		c.prefix = nil // the connection may be silent for hours
	}
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return decided, errors.Join(err, c.SetReadDeadline(time.Time{}))
}
