package forward

import (
	"iter"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// While the queues are full (Config.MaxQueuedBytes), connections get no window back, and everyone waits for the
// receivers that are behind. A receiver that has all but stopped must not stop the others with it: its exchanges are
// given up. A stream that waits for its connection is not behind as long as the connection moves: it is the victim of
// other streams, which the peer holds back.

// lastResort is how many times MaxQueuedBytes the queues may hold, with the windows of many connections. Beyond it,
// exchanges that want to queue more are given up at once.
const lastResort = 8

// watchStalled notes that a connection waits for the queues to shrink, and begins to watch which receivers are behind.
func (e *Engine) watchStalled() {
	if e.pressure.IsSet() {
		return
	}
	for c := range e.h2Conns() {
		c.stoodStill = 0
	}
	e.setLook()
}

// setLook sets the time of the next look, and notes how far everything has come.
func (e *Engine) setLook() {
	for c := range e.h2Conns() {
		c.lastMoved = c.moved
	}
	for fl := range e.clientFlights() {
		fl.req.lastMoved, fl.resp.lastMoved = fl.req.moved, fl.resp.moved
	}
	e.wheel.Set(&e.pressure, e.now.Add(e.cfg.Stall))
}

// shedStalled gives up exchanges whose receivers stand still, until the queues are half empty.
func (e *Engine) shedStalled() {
	if len(e.withheld) == 0 {
		return
	}
	for c := range e.h2Conns() {
		c.look()
	}
	left := e.queued
	for fl := range e.clientFlights() {
		if freed := fl.stalled(); freed > 0 && left > e.cfg.MaxQueuedBytes/2 {
			left -= freed
			fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "stalled"})
		}
	}
	e.setLook()
}

// stands reports whether next to nothing of what waits has moved since the last look: less than an eighth.
func stands(moved int64, waiting int) bool { return 8*moved < int64(waiting) }

// stalled is how much memory the flight holds if it stands.
func (fl *flight) stalled() int {
	if e := fl.e; e.now.Sub(fl.x.Begun) < e.cfg.Stall {
		return 0
	}
	for _, b := range [...]*body{&fl.req, &fl.resp} {
		if b.q.Size() > 0 && stands(b.moved-b.lastMoved, b.q.Memory()) && !waitsForMovingConn(b) {
			return fl.req.q.Memory() + fl.resp.q.Memory()
		}
	}
	return 0
}

// look counts the looks in a row at which the connection stood.
func (c *h2Conn) look() {
	waiting := 0
	for _, s := range c.streams {
		waiting += s.out.q.Memory()
	}
	if c.stoodStill++; !stands(c.moved-c.lastMoved, waiting) {
		c.stoodStill = 0
	}
}

// waitsForMovingConn reports whether only the HTTP/2 connection, not the stream's own window, holds b back, and the
// connection moves. The proxy at the other end of a Mux connection gives up stalled receivers itself: it gets the time
// of one look more before all streams of the connection count as stalled.
func waitsForMovingConn(b *body) bool {
	c, ok := b.to.(*h2Conn)
	if !ok || c.streamOf(b.fl).sending.Of() == nil {
		return false
	}
	return c.stoodStill == 0 || c.mux && c.stoodStill == 1
}

func (e *Engine) h2Conns() iter.Seq[*h2Conn] {
	return func(yield func(*h2Conn) bool) {
		for c := range e.conns {
			if h, ok := c.proto.(*h2Conn); ok && !yield(h) {
				return
			}
		}
	}
}

// clientFlights ranges over the flights of all clients. They may end meanwhile.
func (e *Engine) clientFlights() iter.Seq[*flight] {
	return func(yield func(*flight) bool) {
		for c := range e.conns {
			holder, ok := c.proto.(interface{ flights() iter.Seq[*flight] })
			if !ok || c.rec == nil {
				continue
			}
			for fl := range holder.flights() {
				if !yield(fl) {
					return
				}
			}
		}
	}
}

func (c *h2Conn) flights() iter.Seq[*flight] {
	return func(yield func(*flight) bool) {
		for _, s := range c.streams {
			if !yield(s.fl) {
				return
			}
		}
	}
}

func (s *h1Server) flights() iter.Seq[*flight] {
	return func(yield func(*flight) bool) {
		if s.cur != nil {
			yield(s.cur)
		}
	}
}
