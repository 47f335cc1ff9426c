package forward

import (
	"iter"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// While the queues are full (Config.MaxQueuedBytes), connections get no window back, and everyone waits for the
// receivers that are behind. A receiver that has all but stopped must not stop the others with it: its exchanges are
// given up.

// lastResort is how many times MaxQueuedBytes the queues may hold, with the windows of many connections. Beyond it,
// exchanges that want to queue more are given up at once.
const lastResort = 8

// watchStalled notes that a connection waits for the queues to shrink, and begins to watch which receivers are behind.
func (e *Engine) watchStalled() {
	if e.pressure.IsSet() {
		return
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
	left := e.queued
	for fl := range e.clientFlights() {
		if freed := fl.stalled(); freed > 0 && left > e.cfg.MaxQueuedBytes/2 {
			left -= freed
			fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "stalled"})
		}
	}
	e.watchStalled()
}

// stalled is how much memory the flight holds if next to nothing of it went on since the last look: less than an
// eighth.
func (fl *flight) stalled() int {
	if e := fl.e; e.now.Sub(fl.x.Begun) < e.cfg.Stall {
		return 0
	}
	for _, b := range [...]*body{&fl.req, &fl.resp} {
		if b.q.Size() > 0 && 8*(b.moved-b.lastMoved) < int64(b.q.Memory()) {
			return fl.req.q.Memory() + fl.resp.q.Memory()
		}
	}
	return 0
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
