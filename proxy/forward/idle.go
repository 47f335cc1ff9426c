package forward

import (
	"errors"
	"time"
)

// ErrIdle is what Serve returns for an HTTP/1 connection that was silent between two requests for Config.IdleAfter. The connection is
// open and nothing of it was read: whoever holds it serves it again when it becomes readable.
var ErrIdle = errors.New("forward: idle")

// idler looks for silent connections every so often. It holds nothing while there are none that could be.
type idler struct {
	timer timer
	conns int // downstream HTTP/1 connections
}

// idleState is what the idler knows of a downstream HTTP/1 connection.
type idleState uint8

const (
	idleUnwatched idleState = iota
	idleActive              // read something since the idler looked last
	idleQuiet               // nothing since then
	idleReturning           // its reader is to return
)

// sawBytes notes that the connection is not silent.
func (c *conn) sawBytes() {
	if c.idle != idleUnwatched {
		c.idle = idleActive
	}
}

// watchIdle counts l among the connections that may fall silent.
func (e *Engine) watchIdle(c *conn) {
	if _, ok := c.proto.(*h1Server); !ok || e.cfg.IdleAfter <= 0 || !c.sock.Plain() {
		return
	}
	c.idle = idleQuiet
	e.idler.conns++
	if e.idler.timer.at == 0 || e.idler.conns == crowded+1 {
		e.armIdler()
	}
}

func (e *Engine) unwatchIdle(c *conn) {
	if c.idle != idleUnwatched {
		c.idle = idleUnwatched
		e.idler.conns--
	}
}

// crowded is how many connections make the idler less patient, by a factor of four: what one of them holds counts for more then.
const crowded = 256

func (e *Engine) armIdler() {
	patience := e.cfg.IdleAfter
	if e.idler.conns > crowded {
		patience /= 4
	}
	e.wheel.set(&e.idler.timer, e.now.Add(patience))
}

// findIdle sends home who has been silent since it was called last.
func (e *Engine) findIdle() {
	for c := range e.conns {
		switch {
		case c.idle == idleActive:
			c.idle = idleQuiet
		case c.idle != idleUnwatched && c.proto.(*h1Server).isIdle():
			c.goIdle()
		}
	}
	if e.idler.conns > 0 {
		e.armIdler()
	}
}

// goIdle makes the reader return. Bytes that come before it does change that.
func (c *conn) goIdle() {
	c.idle = idleReturning
	_ = c.sock.SetReadDeadline(time.Unix(1, 0)) // the past; it fails if the connection is closed, which the reader sees
}

// wentIdle is asked by the reader whose wait was cut off: whether it was in time.
func (c *conn) wentIdle() bool {
	_ = c.sock.SetReadDeadline(time.Time{}) // as above
	if c.idle != idleReturning || c.closed() {
		return false
	}
	delete(c.e.conns, c)
	c.state, c.err = connClosed, ErrIdle
	close(c.done)
	return true
}

// isIdle says that nothing is under way in either direction, and that no connection to a server is this client's alone.
func (s *h1Server) isIdle() bool {
	c := s.conn
	return s.state == h1Head && s.cur == nil && s.pinned == nil && !s.gotFIN && !s.in.scan.Pending() && !c.writing && !c.dirty && c.reads == readActive && c.state == connOpen &&
		c.sendBuffer.size == 0 && c.sending.size == 0
}
