package forward

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

const (
	// outboxRoom is how many bytes a link takes before bodies wait in the queues of their flows, and thereby make their senders wait.
	outboxRoom = 128 << 10
	// outboxLimit is how many bytes may wait all in all before no more is read from a client: what is beyond outboxRoom are heads of
	// answers and answers to control frames, which it provokes without reading them.
	outboxLimit = 2 << 20
)

// link is one connection: the socket, what waits to be written to it, and the protocol above it.
type link struct {
	e       *Engine
	sock    *sock.Conn
	proto   proto
	rec     *exchange.Conn // of a downstream link; nil upstream
	traffic *exchange.Traffic
	born    time.Time
	onClose func(err error) // of an upstream link

	out     queue
	sending queue    // what a sender took from out; its own until sent
	bufs    [][]byte // sending, as the socket wants it
	busy    bool     // a goroutine is sending
	dirty   bool     // in Engine.dirty
	finish  bool     // close once everything is sent
	halved  bool     // FIN once everything is sent
	paused  bool
	choked  bool // paused because the outbox is full
	reset   bool // close with a TCP reset
	closed  bool
	mayIdle bool // counted in Engine.idler
	active  bool // read something since the idler looked last
	idling  bool // its reader is to return
	retired bool // by Engine.Retire
	err     error
	reading bool          // its reader has not come to the end
	broken  error         // why nothing can be sent any more, while there may be something to read
	resume  chan struct{} // tokens for the reader
	done    chan struct{} // closed with the link
	timer   timer
}

// proto is the protocol of a link. All methods are called with the turn.
type proto interface {
	// receive takes bytes as sock.Receiver does.
	receive(in []byte) (n int, err error)
	// drained says that the outbox has room.
	drained()
	// ended says that the peer will send nothing more, if err is io.EOF and the link is not closed; else that the link is.
	ended(err error)
	// drain asks to finish what has begun and to accept nothing new.
	drain()
}

func newLink(e *Engine, s *sock.Conn, t *exchange.Traffic) *link {
	return &link{e: e, sock: s, traffic: t, born: time.Now(), reading: true, resume: make(chan struct{}, 1), done: make(chan struct{})}
}

// serve is the reader goroutine of the link's whole life. It returns nil when the connection ended in order.
func (l *link) serve(downstream bool) error {
	e := l.e
	e.begin()
	if e.stopped {
		l.closed = true
		e.turn.Unlock()
		_ = l.sock.Close()
		return net.ErrClosed
	}
	e.links[l] = struct{}{}
	if l.out.size > 0 {
		l.markDirty()
	}
	if downstream {
		e.serving++
		if l.draining() {
			l.proto.drain()
		}
		e.watchIdle(l)
	}
	if !downstream && l.traffic != nil { // an accepted connection is counted by whoever accepted it
		l.traffic.Opened.Add(1)
		l.traffic.Open.Add(1)
	}
	e.settle()

	err := l.sock.Pump(l, l.resume)
	e.begin()
	for errors.Is(err, os.ErrDeadlineExceeded) && !l.wentIdle() && !l.closed { // bytes came just in time
		e.settle()
		err = l.sock.Pump(l, l.resume)
		e.begin()
	}
	l.reading = false
	if !l.closed {
		l.readEnded(err)
	}
	e.settle()
	if err = l.sock.AwaitHangup(l.done); err != nil {
		e.begin()
		l.close(err)
		e.settle()
	}
	<-l.done
	e.begin()
	if l.err != ErrIdle { //nolint:errorlint // our own value, never wrapped
		_ = l.sock.Close()
	}
	e.unwatchIdle(l)
	if downstream {
		e.serving--
		e.tellIdle()
	}
	err = l.err
	e.settle()
	if !downstream && l.traffic != nil {
		l.traffic.Open.Add(-1)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// readEnded is told why the reader came to the end. A reset that a write was told of looks like an orderly end to the reader.
func (l *link) readEnded(err error) {
	switch {
	case !errors.Is(err, io.EOF):
		l.close(err)
	case errors.Is(l.broken, syscall.ECONNRESET):
		l.close(l.broken)
	default:
		l.proto.ended(io.EOF)
	}
}

// Receive implements sock.Receiver: one batch.
func (l *link) Receive(in []byte) (n int, err error) {
	e := l.e
	e.begin()
	if l.closed {
		e.settle()
		return 0, net.ErrClosed
	}
	l.active, l.idling = true, false
	n, err = l.proto.receive(in)
	if l.traffic != nil {
		l.traffic.ReadBytes.Add(uint64(n))
	}
	switch {
	case err != nil && err != sock.ErrMore: //nolint:errorlint // never wrapped: it crosses one call
	case l.closed:
		err = net.ErrClosed
	case l.broken != nil:
		err = sock.ErrMore
	case l.rec != nil && l.out.size+l.sending.size > outboxLimit:
		l.choked, err = true, l.pause()
	}
	if l.sock.Unsent() {
		l.markDirty()
	}
	e.settle()
	return n, err
}

// pause stops the reader until unpause; receive must return the result.
func (l *link) pause() error {
	l.paused = true
	return sock.ErrPause
}

func (l *link) unpause() {
	if l.paused {
		l.paused = false
		l.resume <- struct{}{}
	}
}

func (l *link) markDirty() {
	if !l.dirty {
		l.dirty = true
		l.e.dirty = append(l.e.dirty, l)
	}
}

// draining says that the link takes nothing new.
func (l *link) draining() bool { return l.retired || l.e.draining && l.rec != nil }

// room is how many body bytes the outbox takes now.
func (l *link) room() int { return outboxRoom - l.out.size - l.sending.size }

// flush sends what the outbox holds, without waiting: where the socket is full, a goroutine of its own takes over. It gives the turn
// away while it encrypts and writes; others only append meanwhile.
func (l *link) flush() {
	if l.busy || l.closed {
		return
	}
	if l.broken != nil {
		l.discard()
		return
	}
	l.busy = true
	for l.more() {
		l.take()
		l.e.turn.Unlock()
		n, full, err := l.sock.TrySend(l.bufs)
		l.e.turn.Lock()
		if !l.sent(n, err) {
			return
		}
		if full {
			l.e.wg.Add(1)
			go l.write()
			return
		}
	}
	l.idle()
}

// write is the goroutine that sends to a socket that was full.
func (l *link) write() {
	defer l.e.wg.Done()
	l.e.begin()
	for l.more() {
		l.take()
		l.e.turn.Unlock()
		n, err := l.sock.Send(l.bufs)
		l.e.begin()
		if !l.sent(n, err) {
			l.e.settle()
			return
		}
	}
	l.idle()
	l.e.settle()
}

func (l *link) more() bool {
	return !l.closed && l.broken == nil && (l.sending.size > 0 || l.out.size > 0 || l.sock.Unsent())
}

func (l *link) take() {
	if l.sending.size == 0 {
		l.sending, l.out = l.out, l.sending
	}
	l.bufs = l.bufs[:0]
	for i := range l.sending.chunks {
		l.bufs = append(l.bufs, l.sending.chunks[i].b)
	}
}

// sent notes that the socket took n bytes and lets the protocol write more. It reports whether the link is still alive.
func (l *link) sent(n int, err error) bool {
	clear(l.bufs)
	l.sending.skip(n)
	if l.traffic != nil {
		l.traffic.WrittenBytes.Add(uint64(n))
	}
	switch {
	case err == nil:
	case l.answers(err):
		l.broken = err
		_ = l.sock.SetReadDeadline(time.Unix(1, 0)) // the reader must look: the edge may be gone. It fails if the connection is closed.
		l.discard()
	default:
		l.close(err)
	}
	if !l.closed {
		l.proto.drained()
	}
	if l.closed {
		l.busy = false
		l.release()
		return false
	}
	if l.choked && l.out.size+l.sending.size <= outboxLimit/2 {
		l.choked = false
		l.unpause()
	}
	return true
}

// answers reports whether a link that failed with err while it sent may hold an answer that came before: a server that does not want a
// request's body answers and closes, which resets the connection. What is in the socket can still be read, up to its end.
func (l *link) answers(err error) bool {
	return l.rec == nil && l.reading && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// discard drops what cannot be sent any more, so that its senders do not wait for it.
func (l *link) discard() {
	for !l.closed && l.out.size+l.sending.size > 0 {
		l.release()
		l.proto.drained()
	}
	if !l.closed && l.finish {
		l.close(nil)
	}
}

// idle ends a sender's work.
func (l *link) idle() {
	l.busy = false
	switch {
	case l.closed:
		l.release()
	case l.broken != nil:
		l.discard()
	case l.finish:
		l.close(nil)
	case l.halved:
		l.halved = false
		if err := l.sock.CloseWrite(); err != nil {
			l.close(err)
		}
	}
}

// closeSoon closes the link when everything that was written is sent.
func (l *link) closeSoon() {
	l.finish = true
	l.markDirty()
}

// closeWrite sends FIN when everything that was written is sent.
func (l *link) closeWrite() {
	l.halved = true
	l.markDirty()
}

// close closes the link at once; nil means in order. The protocol learns of it exactly once.
func (l *link) close(err error) {
	if l.closed {
		return
	}
	l.closed, l.err = true, err
	delete(l.e.links, l)
	l.e.wheel.cancel(&l.timer)
	l.sock.Abort(l.reset)
	l.unpause()
	if !l.busy {
		l.release()
	}
	l.proto.ended(err)
	close(l.done)
	if l.onClose != nil {
		l.onClose(err)
	}
}

// release frees the outbox. A sender that is out of turn keeps its buffers until it is back.
func (l *link) release() {
	l.out.clear()
	l.sending.clear()
}
