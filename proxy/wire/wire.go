// Package wire is the socket below a proxied connection: it reads ahead and gathers writes, so that a batch costs one system call
// each way, and it holds no buffer while nothing flows.
//
// It owns the read-ahead, the record boundary that crypto/tls needs, and the gathering of TLS records; it must not know what the
// bytes mean beyond that. It imports the standard library only. The one idea: a goroutine that waits for a peer waits on the
// descriptor, and takes a pooled buffer only when there is something to put into it.
package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// BufferBytes is the size of the pooled buffers: four TLS records with their overhead. Larger reads gain little, smaller ones cost
// a system call each.
const BufferBytes = 4 * maxRecordBytes

// maxRecordBytes is a TLS 1.3 record of the largest size on the wire. Source: RFC 8446 §5.2.
const (
	recordHeaderBytes = 5
	maxRecordBytes    = recordHeaderBytes + 1<<14 + 256
)

// buffers holds *[BufferBytes]byte that are in nobody's use. It is a cache, not state: emptying it changes nothing but speed.
var buffers = sync.Pool{New: func() any { return new([BufferBytes]byte) }}

// Conn is a connection with read-ahead. One goroutine may read while another writes. Cork and Flush belong to the writer.
type Conn struct {
	net.Conn
	raw  syscall.RawConn // nil when the connection is no socket: then reads hold a buffer while they wait
	poll func(fd uintptr) bool
	in   ahead
	out  gather

	records bool // Read never crosses the end of a TLS record
	left    int  // bytes of the current record that Read has not given yet
}

// ahead is what was read from the socket and not given yet: buf[from:to].
type ahead struct {
	buf      *[BufferBytes]byte
	from, to int
	n        int   // result of the last poll
	err      error // of the last poll, or what ended reading for good
}

// gather is what was written since Cork.
type gather struct {
	mu     sync.Mutex // guards the fields below, and keeps records in order: crypto/tls may send an alert from its reader
	buf    *[BufferBytes]byte
	n      int
	corked bool
}

// New returns c with read-ahead. prefix is what somebody has read from c already, at most BufferBytes; Read gives it
// first. It is copied.
func New(c net.Conn, prefix []byte) *Conn {
	w := &Conn{Conn: c}
	if s, ok := c.(syscall.Conn); ok {
		w.raw, _ = s.SyscallConn() // an error means the connection is closed, which the first read reports
	}
	w.poll = w.readOnce
	if len(prefix) > 0 {
		w.in.buf = buffers.Get().(*[BufferBytes]byte)
		w.in.to = copy(w.in.buf[:], prefix)
	}
	return w
}

// NewRecords returns c for use below crypto/tls: a Read never gives bytes of two TLS records, so crypto/tls holds none of the
// following record, and Readable tells exactly whether its next Read can be answered without waiting.
func NewRecords(c net.Conn, prefix []byte) *Conn {
	w := New(c, prefix)
	w.records = true
	return w
}

// NetConn returns the connection below. What Buffered counts is missing from it.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Buffered returns how many bytes were read ahead.
func (c *Conn) Buffered() int { return c.in.to - c.in.from }

// Ahead returns the bytes that were read ahead. They are valid until the next Read, Fill or Discard.
func (c *Conn) Ahead() []byte {
	if c.in.buf == nil {
		return nil
	}
	return c.in.buf[c.in.from:c.in.to]
}

// Discard drops the first n bytes of Ahead, and the buffer when nothing is left in it.
func (c *Conn) Discard(n int) {
	c.in.from += n
	if c.in.from == c.in.to {
		c.in.release()
	}
}

func (a *ahead) release() {
	if a.buf != nil {
		buffers.Put(a.buf)
	}
	a.buf, a.from, a.to = nil, 0, 0
}

// Fill waits until the socket has bytes and reads as many as fit. It holds no buffer while it waits, unless some bytes are there
// already. The error is io.EOF at the end of the peer's stream; it is given again by every later Fill.
func (c *Conn) Fill() error {
	if c.in.err != nil {
		return c.in.err
	}
	if c.in.from > 0 && c.in.buf != nil {
		c.in.to = copy(c.in.buf[:], c.in.buf[c.in.from:c.in.to])
		c.in.from = 0
	}
	if c.in.to == BufferBytes {
		return io.ErrShortBuffer
	}
	if c.raw == nil {
		return c.fillBlocking()
	}
	err := c.raw.Read(c.poll)
	switch {
	case err != nil: // closed, or a deadline, which does not end the connection
		return err
	case c.in.err != nil:
		c.in.err = &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: c.in.err}
		return c.in.err
	case c.in.n == 0:
		c.in.err = io.EOF
		return io.EOF
	}
	return nil
}

// readOnce reads from the descriptor without waiting; false makes the poller wait for it.
func (c *Conn) readOnce(fd uintptr) bool {
	if c.in.buf == nil {
		c.in.buf = buffers.Get().(*[BufferBytes]byte)
	}
	for {
		n, err := syscall.Read(int(fd), c.in.buf[c.in.to:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			if c.in.from == c.in.to {
				c.in.release()
			}
			return false
		}
		c.in.n = max(n, 0)
		c.in.err = err
		c.in.to += c.in.n
		if c.in.to == 0 {
			c.in.release()
		}
		return true
	}
}

func (c *Conn) fillBlocking() error {
	if c.in.buf == nil {
		c.in.buf = buffers.Get().(*[BufferBytes]byte)
	}
	n, err := c.Conn.Read(c.in.buf[c.in.to:])
	c.in.to += n
	if c.in.to == 0 {
		c.in.release()
	}
	if n > 0 {
		return nil
	}
	return err
}

// Read gives what was read ahead, after waiting for some if there is nothing. Below crypto/tls it stops at the end of a record.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if c.records {
		return c.readRecord(b)
	}
	for c.Buffered() == 0 {
		if err := c.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.Ahead())
	c.Discard(n)
	return n, nil
}

func (c *Conn) readRecord(b []byte) (int, error) {
	for c.left == 0 && c.Buffered() < recordHeaderBytes || c.Buffered() == 0 {
		if err := c.Fill(); err != nil {
			if rest := copy(b, c.Ahead()); rest > 0 { // less than a header: crypto/tls reports what is wrong with it
				c.Discard(rest)
				return rest, nil
			}
			return 0, err
		}
	}
	if c.left == 0 {
		c.left = recordBytes(c.Ahead())
	}
	n := copy(b, c.Ahead()[:min(c.left, c.Buffered())])
	c.left -= n
	c.Discard(n)
	return n, nil
}

// recordBytes returns the length of the record that begins b, its header included.
func recordBytes(b []byte) int { return recordHeaderBytes + int(b[3])<<8 + int(b[4]) }

// Readable reports whether a read by crypto/tls above would find a whole record and so not wait. Records that are too long for the
// buffer count as readable, so that crypto/tls refuses them.
func (c *Conn) Readable() bool {
	n := c.Buffered()
	if c.left > 0 {
		return n >= c.left
	}
	if n < recordHeaderBytes {
		return false
	}
	length := recordBytes(c.Ahead())
	return n >= length || length > maxRecordBytes
}

// Wait waits until Readable, holding no buffer while nothing of a record is there.
func (c *Conn) Wait() error {
	for !c.Readable() {
		if err := c.Fill(); err != nil {
			if c.Buffered() > 0 && c.in.err != nil {
				return nil // crypto/tls finds the record cut off
			}
			return err
		}
	}
	return nil
}
