// Package relay moves the bytes of one TCP connection between two sockets, whatever they mean.
//
// It owns copying, half-close and the passing on of resets; it must not decide where a connection goes. It imports the
// sock package and the standard library. The one idea: a direction holds a buffer, or a kernel pipe, only while bytes
// flow; an idle relay is two goroutines that wait for a descriptor.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// End is one side of a relay. Make it with Plain or Secure. It may be used by one relay.
type End struct {
	// Exactly one of conn and tcp is used to read: between two plain sockets the kernel moves the bytes.
	conn   *sock.Conn
	tcp    *net.TCPConn // nil with TLS
	prefix []byte       // read from tcp already
	broken error        // ended reading before Run; see Broke
	// Read and Written count the bytes that came from and went to this side; nil counts nothing.
	Read, Written *atomic.Uint64
	// Totals counts the same for this side alone; nil counts nothing.
	Totals *Totals
	// reset is set when a write failed by a reset. The kernel reports it once, so a later read must not take it for an
	// orderly end.
	reset atomic.Bool
}

// Totals are the bytes that came from a side, and those that went to it.
type Totals struct{ Read, Written atomic.Uint64 }

// Plain returns the side that speaks plaintext on c. prefix are bytes that were read from c already.
func Plain(c *net.TCPConn, prefix []byte) *End { return &End{tcp: c, prefix: prefix} }

// Secure returns the side that speaks TLS on c.
func Secure(c *sock.Conn) *End { return &End{conn: c} }

// Unread returns bytes that were read from a plaintext side: Run moves them first.
func (e *End) Unread(b []byte) { e.prefix = b }

// Secured returns the TLS connection of the side; nil if it speaks plaintext.
func (e *End) Secured() *sock.Conn {
	if e.conn == nil || !e.conn.Secure() {
		return nil
	}
	return e.conn
}

// Result says how a relay ended: A and B are what ended reading from the side of that name, or writing what was read;
// nil means an orderly end.
type Result struct {
	A, B error
}

// Word returns Linkerd's word for a connection that broke; "" for an orderly end.
func (r Result) Word() string {
	if r.A != nil || r.B != nil {
		return "IO"
	}
	return ""
}

// Run copies both ways until both directions have ended, and closes both connections. An end of stream is passed on as
// such; any error, and the end of ctx, resets both sides, so that a peer never takes a cut-off stream for a whole one.
func Run(ctx context.Context, a, b *End) Result {
	move := splice
	if a.tcp == nil || b.tcp == nil {
		a.wrap()
		b.wrap()
		move = pump
	}
	stop := context.AfterFunc(ctx, func() { a.fail(); b.fail() })
	var r Result
	var wg sync.WaitGroup
	there := way{src: a, dst: b, done: make(chan struct{})}
	back := way{src: b, dst: a, done: make(chan struct{})}
	wg.Go(func() { r.B = back.run(ctx, move, there.done) })
	r.A = there.run(ctx, move, back.done)
	wg.Wait()
	stop()
	a.close()
	b.close()
	return r
}

// wrap makes a plain side readable and writable like one with TLS.
func (e *End) wrap() {
	if e.conn == nil {
		e.conn = sock.New(e.tcp, e.prefix)
	}
}

// way is one direction of a relay.
type way struct {
	src, dst *End
	done     chan struct{} // closed when nothing more is moved
}

// run moves bytes from src to dst until the stream ends. back is done when the other direction is.
func (w way) run(ctx context.Context, move func(src, dst *End) error, back <-chan struct{}) error {
	err := move(w.src, w.dst)
	if err == nil {
		err = w.src.broken
	}
	if err == nil && w.src.reset.Load() {
		err = syscall.ECONNRESET
	}
	if err == nil {
		err = w.dst.closeWrite()
	}
	close(w.done)
	if err == nil {
		return nil
	}
	other := w.dst
	if gone := (*goneError)(nil); errors.As(err, &gone) {
		w.hearOut(back)
		other = w.src
	}
	if ctx.Err() == nil {
		other.awaitSent()
	}
	w.src.fail()
	w.dst.fail()
	return err
}

// hearOut lets the other direction forward what dst sent before it closed: a server that refuses a request responds and
// closes. Meanwhile it drops what src still sends, because src may not read before it has sent everything.
func (w way) hearOut(back <-chan struct{}) {
	var wg sync.WaitGroup
	wg.Go(func() {
		<-back
		// it fails if the connection is closed, which ends the reading too
		_ = w.src.socket().SetReadDeadline(time.Unix(1, 0))
	})
	_, _ = io.Copy(io.Discard, w.src.socket())
	wg.Wait()
}

// goneError says that a side takes no more bytes, because its peer has closed.
type goneError struct{ err error }

func (e *goneError) Error() string { return e.err.Error() }

func (e *goneError) Unwrap() error { return e.err }

// unwritten returns the relay's error for a failed write to the side.
func (e *End) unwritten(err error) error {
	reset := errors.Is(err, syscall.ECONNRESET)
	if !reset && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	if reset {
		e.reset.Store(true)
	}
	return &goneError{err}
}

// pump moves bytes through this process, sealing or opening them on the way.
func pump(src, dst *End) error {
	err := src.conn.Pump(&receiver{src: src, dst: dst}, nil)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// receiver writes what one side read to the other and waits for it, so a slow reader slows its writer down.
type receiver struct {
	src, dst *End
	bufs     [1][]byte
}

// Receive implements sock.Receiver.
func (r *receiver) Receive(in []byte) (int, error) {
	r.src.countRead(len(in))
	r.bufs[0] = in
	n, err := r.dst.conn.Send(r.bufs[:])
	r.bufs[0] = nil
	r.dst.countWritten(n)
	if err == nil {
		return n, sock.ErrMore
	}
	return n, r.dst.unwritten(err)
}

// closeWrite forwards the end of a stream. A peer that closed after it got everything is not an error.
func (e *End) closeWrite() error {
	var err error
	if e.conn != nil {
		err = e.conn.CloseWrite()
	} else {
		err = e.tcp.CloseWrite()
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return err
}

func (e *End) socket() net.Conn {
	if e.tcp != nil {
		return e.tcp
	}
	return e.conn.NetConn()
}

// fail makes every read and write fail from now on, and the coming close a reset. It does not close: that would wait
// for a reader which may wait for the other side.
func (e *End) fail() {
	c := e.socket()
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0) // best effort, like the next: the connection may be gone
	}
	_ = c.SetDeadline(time.Unix(1, 0))
}

// Abort resets a connection that no relay runs on.
func (e *End) Abort() {
	e.fail()
	e.close()
}

// Close ends a connection that no relay runs on in good order.
func (e *End) Close() {
	_ = e.closeWrite() // best effort: TLS announces the end, so that the peer does not take it for a break
	e.close()
}

func (e *End) close() { _ = e.socket().Close() }

func (e *End) countRead(n int) {
	count(e.Read, n)
	if e.Totals != nil {
		count(&e.Totals.Read, n)
	}
}

func (e *End) countWritten(n int) {
	count(e.Written, n)
	if e.Totals != nil {
		count(&e.Totals.Written, n)
	}
}

func count(c *atomic.Uint64, n int) {
	if c != nil && n > 0 {
		c.Add(uint64(n))
	}
}
