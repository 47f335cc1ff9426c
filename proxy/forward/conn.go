package forward

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/buffer"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/wheel"
)

const (
	// sendBufferRoom is how many bytes the send buffer takes before body bytes wait in their queues, and their senders
	// with them.
	sendBufferRoom = 128 << 10
	// sendBufferLimit is how many bytes may wait in all before nothing more is read from a client. Beyond
	// sendBufferRoom there are heads of responses and answers to control frames, which the client provokes without
	// reading them.
	sendBufferLimit = 2 << 20
)

// conn is one connection: the socket, what waits to be written to it, and the protocol above it.
type conn struct {
	e       *Engine
	sock    *sock.Conn
	proto   proto
	rec     *exchange.Conn // of a downstream connection; nil upstream
	traffic *exchange.Traffic
	born    time.Time
	onClose func(err error) // of an upstream connection

	sendBuffer buffer.Queue
	sending    buffer.Queue // what the writing goroutine took from sendBuffer; its own until sent
	bufs       [][]byte     // sending, as the socket wants it

	state    connState
	reads    readState
	idle     idleState // of a downstream HTTP/1 connection
	writing  bool      // a goroutine is writing to the socket
	dirty    bool      // in Engine.dirty
	reset    bool      // close with a TCP reset
	retired  bool      // by Engine.Retire
	err      error
	writeErr error         // why nothing can be sent any more, while there may be something to read
	resume   chan struct{} // tokens for the reader
	done     chan struct{} // closed with the connection
	timer    wheel.Timer
}

// connState is how far a connection has come to its end. It only grows.
type connState uint8

const (
	connOpen       connState = iota
	connFINPending           // FIN follows what waits to be sent
	connFINSent              // nothing more is sent; the peer may still send
	connFinishing            // the connection closes when everything is sent
	connClosed
)

// readState is what the reader goroutine of a connection does.
type readState uint8

const (
	readActive readState = iota
	readPaused           // a body waits for its writer
	readChoked           // the send buffer is full of what the peer provoked
	readEnded            // the peer sends nothing more
)

// proto is the protocol of a connection. All methods are called with the lock held.
type proto interface {
	// receive takes bytes as sock.Receiver does.
	receive(in []byte) (n int, err error)
	// hasRoom is called when the send buffer has room.
	hasRoom()
	// onFIN is called when the peer sends nothing more.
	onFIN()
	// onClosed is called once, when the connection is closed. A nil err means in order.
	onClosed(err error)
	// drain asks to finish what has begun and to take nothing new.
	drain()
}

func newConn(e *Engine, s *sock.Conn, t *exchange.Traffic) *conn {
	return &conn{e: e, sock: s, traffic: t, born: time.Now(), resume: make(chan struct{}, 1), done: make(chan struct{})}
}

// serve runs on the reader goroutine, for the connection's whole life. It returns nil when the connection ended in
// order.
func (c *conn) serve(downstream bool) error {
	if !c.join(downstream) {
		_ = c.sock.Close()
		return net.ErrClosed
	}
	for !c.endReading(c.sock.Pump(c, c.resume)) {
		continue // bytes came just in time
	}
	if err := c.sock.AwaitHangup(c.done); err != nil {
		c.e.beginBatch()
		c.close(err)
		c.e.endBatch()
	}
	<-c.done
	if err := c.leave(downstream); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// join makes the connection one of the engine's. It reports false if the engine has stopped.
func (c *conn) join(downstream bool) bool {
	e := c.e
	e.beginBatch()
	defer e.endBatch()
	if e.stopped {
		c.state = connClosed
		return false
	}
	e.conns[c] = struct{}{}
	if c.sendBuffer.Size() > 0 {
		c.markDirty()
	}
	if downstream {
		e.serving++
		if c.draining() {
			c.proto.drain()
		}
		e.watchIdle(c)
	} else if c.traffic != nil { // an accepted connection is counted where it was accepted
		c.traffic.Opened.Add(1)
		c.traffic.Open.Add(1)
	}
	return true
}

// endReading follows the error that ended a Pump. It reports false if the deadline of an idle connection came too late.
func (c *conn) endReading(err error) bool {
	c.e.beginBatch()
	defer c.e.endBatch()
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.wentIdle() && !c.closed() {
		return false
	}
	c.reads = readEnded
	if !c.closed() {
		c.onReadEnd(err)
	}
	return true
}

// leave ends what join began, once the connection is closed. It returns why it was closed.
func (c *conn) leave(downstream bool) error {
	e := c.e
	e.beginBatch()
	defer e.endBatch()
	if c.err != ErrIdle { //nolint:errorlint // our own value, never wrapped
		_ = c.sock.Close()
	}
	e.unwatchIdle(c)
	if downstream {
		e.serving--
		e.signalAllClosed()
	} else if c.traffic != nil {
		c.traffic.Open.Add(-1)
	}
	return c.err
}

// onReadEnd follows the end of reading. A reset that a write ran into looks like an orderly end to the reader.
func (c *conn) onReadEnd(err error) {
	switch {
	case !errors.Is(err, io.EOF):
		c.close(err)
	case errors.Is(c.writeErr, syscall.ECONNRESET):
		c.close(c.writeErr)
	default:
		c.proto.onFIN()
	}
}

// Receive implements sock.Receiver: it takes one batch.
func (c *conn) Receive(in []byte) (n int, err error) {
	e := c.e
	e.beginBatch()
	if c.closed() {
		e.endBatch()
		return 0, net.ErrClosed
	}
	c.sawBytes()
	n, err = c.proto.receive(in)
	if c.traffic != nil {
		c.traffic.ReadBytes.Add(uint64(n))
	}
	switch {
	case err != nil && err != sock.ErrMore: //nolint:errorlint // never wrapped: it crosses one call
	case c.closed():
		err = net.ErrClosed
	case c.writeErr != nil:
		err = sock.ErrMore
	case c.rec != nil && c.sendBuffer.Size()+c.sending.Size() > sendBufferLimit:
		c.reads, err = readChoked, sock.ErrPause
	}
	if c.sock.Unsent() {
		c.markDirty()
	}
	e.endBatch()
	return n, err
}

// closed reports whether the connection is closed.
func (c *conn) closed() bool { return c.state == connClosed }

// pause stops the reader until unpause. receive must return the result.
func (c *conn) pause() error {
	c.reads = readPaused
	return sock.ErrPause
}

func (c *conn) unpause() {
	if c.reads == readPaused || c.reads == readChoked {
		c.reads = readActive
		c.resume <- struct{}{}
	}
}

func (c *conn) markDirty() {
	if !c.dirty {
		c.dirty = true
		c.e.dirty = append(c.e.dirty, c)
	}
}

// draining reports whether the connection takes nothing new.
func (c *conn) draining() bool { return c.retired || c.e.draining && c.rec != nil }

// room is how many body bytes the send buffer takes now.
func (c *conn) room() int { return sendBufferRoom - c.sendBuffer.Size() - c.sending.Size() }

// flush sends the send buffer without waiting: where the socket is full, another goroutine takes over. It gives the
// lock away while it encrypts and writes. Others only append meanwhile.
func (c *conn) flush() {
	if c.writing || c.closed() {
		return
	}
	if c.writeErr != nil {
		c.discard()
		return
	}
	c.writing = true
	for c.hasUnsent() {
		c.takeBuffer()
		c.e.mu.Unlock()
		n, full, err := c.sock.TrySend(c.bufs)
		c.e.mu.Lock()
		if !c.sent(n, err) {
			return
		}
		if full {
			c.e.wg.Add(1)
			go c.write()
			return
		}
	}
	c.writingDone()
}

// write sends to a socket that was full, on a goroutine of its own.
func (c *conn) write() {
	defer c.e.wg.Done()
	c.e.beginBatch()
	for c.hasUnsent() {
		c.takeBuffer()
		c.e.endBatch()
		n, err := c.sock.Send(c.bufs)
		c.e.beginBatch()
		if !c.sent(n, err) {
			c.e.endBatch()
			return
		}
	}
	c.writingDone()
	c.e.endBatch()
}

func (c *conn) hasUnsent() bool {
	return !c.closed() && c.writeErr == nil && (c.sending.Size() > 0 || c.sendBuffer.Size() > 0 || c.sock.Unsent())
}

func (c *conn) takeBuffer() {
	if c.sending.Size() == 0 {
		c.sending, c.sendBuffer = c.sendBuffer, c.sending
	}
	c.bufs = c.sending.AppendTo(c.bufs[:0])
}

// sent notes that the socket took n bytes, and lets the protocol write more. It reports whether the connection is still
// open.
func (c *conn) sent(n int, err error) bool {
	clear(c.bufs)
	c.sending.Skip(n)
	if c.traffic != nil {
		c.traffic.WrittenBytes.Add(uint64(n))
	}
	switch {
	case err == nil:
	case c.mayHaveResponse(err):
		c.writeErr = err
		c.wakeReader() // the edge that said so may be gone
		c.discard()
	default:
		c.close(err)
	}
	if !c.closed() {
		c.proto.hasRoom()
	}
	if c.closed() {
		c.writing = false
		c.release()
		return false
	}
	if c.reads == readChoked && c.sendBuffer.Size()+c.sending.Size() <= sendBufferLimit/2 {
		c.unpause()
	}
	return true
}

// mayHaveResponse reports whether a connection on which sending failed with err may hold a response that came before. A
// server that does not want a request's body answers and closes, which resets the connection. What is in the socket can
// still be read.
func (c *conn) mayHaveResponse(err error) bool {
	return c.rec == nil && c.reads != readEnded && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// discard drops what cannot be sent any more, so that its senders do not wait for it.
func (c *conn) discard() {
	for !c.closed() && c.sendBuffer.Size()+c.sending.Size() > 0 {
		c.release()
		c.proto.hasRoom()
	}
	if c.state == connFinishing {
		c.close(nil)
	}
}

// writingDone follows the end of writing.
func (c *conn) writingDone() {
	c.writing = false
	switch {
	case c.closed():
		c.release()
	case c.writeErr != nil:
		c.discard()
	case c.state == connFinishing:
		c.close(nil)
	case c.state == connFINPending:
		c.state = connFINSent
		if err := c.sock.CloseWrite(); err != nil {
			c.close(err)
		}
	}
}

// closeSoon closes the connection when everything is sent.
func (c *conn) closeSoon() {
	c.state = max(c.state, connFinishing)
	c.markDirty()
}

// closeWrite sends FIN when everything is sent.
func (c *conn) closeWrite() {
	c.state = max(c.state, connFINPending)
	c.markDirty()
}

// close closes the connection at once. A nil err means in order. The protocol learns of it exactly once.
func (c *conn) close(err error) {
	if c.closed() {
		return
	}
	c.state, c.err = connClosed, err
	delete(c.e.conns, c)
	c.e.wheel.Cancel(&c.timer)
	c.sock.Abort(c.reset)
	c.unpause()
	if !c.writing {
		c.release()
	}
	c.proto.onClosed(err)
	close(c.done)
	if c.onClose != nil {
		c.onClose(err)
	}
}

// wakeReader makes the reader look at the socket: a read deadline in the past ends its wait. To set one fails only if
// the connection is closed, which the reader sees.
func (c *conn) wakeReader() { _ = c.sock.SetReadDeadline(time.Unix(1, 0)) }

// release frees the send buffer. A goroutine that writes without the lock keeps its buffers until it is back.
func (c *conn) release() {
	c.sendBuffer.Clear()
	c.sending.Clear()
}
