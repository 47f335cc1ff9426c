package forward

import (
	"errors"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wheel"
)

// ErrIdle is what Serve returns for an HTTP/1 connection that was silent between two requests for Config.IdleAfter. The
// connection is open and nothing of it was read. The caller serves it again when it becomes readable.
var ErrIdle = errors.New("forward: idle")

// idler looks for silent connections at intervals. Its timer is off while there are no connections to watch.
type idler struct {
	timer wheel.Timer
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

// watchIdle counts c among the connections that may fall silent.
func (e *Engine) watchIdle(c *conn) {
	if _, ok := c.proto.(*h1Server); !ok || e.cfg.IdleAfter <= 0 || !c.sock.Plain() {
		return
	}
	c.idle = idleQuiet
	e.idler.conns++
	if !e.idler.timer.IsSet() || e.idler.conns == crowded+1 {
		e.armIdler()
	}
}

func (e *Engine) unwatchIdle(c *conn) {
	if c.idle != idleUnwatched {
		c.idle = idleUnwatched
		e.idler.conns--
	}
}

// crowded is the number of connections from which the idler waits a quarter as long, because they hold much memory.
const crowded = 256

func (e *Engine) armIdler() {
	patience := e.cfg.IdleAfter
	if e.idler.conns > crowded {
		patience /= 4
	}
	e.wheel.Set(&e.idler.timer, e.now.Add(patience))
}

// findIdle makes the readers return whose connections were silent since the last call.
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

// goIdle makes the reader return, unless bytes come first.
func (c *conn) goIdle() {
	c.idle = idleReturning
	c.wakeReader()
}

// wentIdle reports to the reader whether its wait was cut off because the connection is idle.
func (c *conn) wentIdle() bool {
	_ = c.sock.SetReadDeadline(time.Time{}) // it fails if the connection is closed
	if c.idle != idleReturning || c.closed() {
		return false
	}
	delete(c.e.conns, c)
	c.state, c.err = connClosed, ErrIdle
	close(c.done)
	return true
}

// isIdle reports whether nothing is under way in either direction, and no connection to a server is this client's
// alone.
func (s *h1Server) isIdle() bool {
	c := s.conn
	return s.state == h1Head && s.cur == nil && s.pinned == nil && !s.halfClosed && !s.in.Scan.Pending() &&
		c.state == connOpen && c.reads == readActive && !c.writing && !c.dirty &&
		c.sendBuffer.Size() == 0 && c.sending.Size() == 0
}
