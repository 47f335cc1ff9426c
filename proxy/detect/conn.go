package detect

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Conn is a connection whose first bytes were looked at: Read gives them first. Like any net.Conn it may be read by one
// goroutine and written by another; Peeked, Fill and Sniff belong to the reader, before its first Read.
type Conn struct {
	net.Conn
	prefix []byte
	err    error // what ended peeking, given by Read after the prefix
}

// NewConn returns c with nothing peeked yet.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Peeked returns the bytes that were looked at and not read yet. They are valid until the next Fill or Read.
func (c *Conn) Peeked() []byte { return c.prefix }

// Silent reports whether the peer ended its stream, or the connection broke, before any byte came that was not read
// yet.
func (c *Conn) Silent() bool { return len(c.prefix) == 0 && c.err != nil }

// NetConn returns the connection below. Bytes that Peeked returns are missing from it.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// peekBytes is the first buffer of a peek: a request line, most request heads and every ClientHello without hybrid key
// shares fit.
const peekBytes = 2 << 10

// Fill waits for more bytes and adds them to Peeked. It returns io.EOF, or any other error of the connection, when
// there are none; Read will return the same after what was peeked, unless it was a deadline's.
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
		err = nil // it comes again with the next read
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.err = err
	}
	return err
}

// Read gives what was peeked first, then what the connection gives.
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

// CloseWrite ends the sending direction, if the connection below can; else it does nothing.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SyscallConn gives the descriptor of the connection below. It must not be used to read while Peeked returns bytes.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, syscall.EINVAL
}

// Sniff peeks until the protocol is clear. It returns Opaque when it is not within the timeout, when the peer ends its
// stream first, or when it sends nothing: a protocol in which the server speaks first looks like that. What Stalled
// within a request is HTTP, whose codec waits for the rest. An error is the connection's own.
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
		kind = Stalled(c.prefix)
	}
	return kind, err
}

// SniffHello peeks until a whole ClientHello is there or it is clear that none will be. ok is false when what came is
// not one, does not fit in MaxHello bytes, or is not complete within the timeout. An error is the connection's own.
func (c *Conn) SniffHello(timeout time.Duration) (hello Hello, ok bool, err error) {
	decided, err := c.peek(timeout, func() bool {
		var parseErr error
		hello, parseErr = ParseClientHello(c.prefix)
		ok = parseErr == nil
		return !errors.Is(parseErr, ErrShort) || len(c.prefix) >= MaxHello
	})
	return hello, ok && decided, err
}

// peek fills until done reports true, the timeout passes, or the peer ends its stream; it clears the read deadline.
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
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return decided, errors.Join(err, c.SetReadDeadline(time.Time{}))
}
