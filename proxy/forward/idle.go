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
	links int // downstream HTTP/1 connections
}

// watchIdle counts l among the connections that may fall silent.
func (e *Engine) watchIdle(l *link) {
	if _, ok := l.proto.(*h1Server); !ok || e.cfg.IdleAfter <= 0 || !l.sock.Plain() {
		return
	}
	l.mayIdle = true
	e.idler.links++
	if e.idler.timer.at == 0 || e.idler.links == crowded+1 {
		e.armIdler()
	}
}

func (e *Engine) unwatchIdle(l *link) {
	if l.mayIdle {
		l.mayIdle = false
		e.idler.links--
	}
}

// crowded is how many connections make the idler less patient, by a factor of four: what one of them holds counts for more then.
const crowded = 256

func (e *Engine) armIdler() {
	patience := e.cfg.IdleAfter
	if e.idler.links > crowded {
		patience /= 4
	}
	e.wheel.set(&e.idler.timer, e.now.Add(patience))
}

// findIdle sends home who has been silent since it was called last.
func (e *Engine) findIdle() {
	for l := range e.links {
		if !l.mayIdle {
			continue
		}
		if !l.active && l.proto.(*h1Server).resting() {
			l.goIdle()
		}
		l.active = false
	}
	if e.idler.links > 0 {
		e.armIdler()
	}
}

// goIdle makes the reader return. Bytes that come before it does change that.
func (l *link) goIdle() {
	l.idling = true
	_ = l.sock.SetReadDeadline(time.Unix(1, 0)) // the past; it fails if the connection is closed, which the reader sees
}

// wentIdle is asked by the reader whose wait was cut off: whether it was in time.
func (l *link) wentIdle() bool {
	_ = l.sock.SetReadDeadline(time.Time{}) // as above
	if !l.idling || l.closed {
		return false
	}
	delete(l.e.links, l)
	l.closed, l.err = true, ErrIdle
	close(l.done)
	return true
}

// resting says that nothing is under way in either direction, and that no connection to a server is this client's alone.
func (s *h1Server) resting() bool {
	l := s.l
	return s.state == h1Head && s.cur == nil && s.pinned == nil && !s.halfGone && !s.in.scan.Pending() && !l.busy && !l.dirty && !l.paused && !l.closed &&
		!l.finish && !l.halved && l.out.size == 0 && l.sending.size == 0
}
