package forward

import (
	"iter"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// While the queues are full (Config.MaxQueuedBytes), connections get no window back, and everyone waits for the readers that are
// behind. One that has stopped reading must not stop the others with it: its exchanges are given up.

// pressed notes that a connection waits for the queues to shrink.
func (e *Engine) pressed() {
	if e.pressure.at == 0 {
		e.wheel.set(&e.pressure, e.now.Add(e.cfg.Stall))
	}
}

// relieve gives up exchanges whose readers stand still, until the queues are half empty.
func (e *Engine) relieve() {
	if len(e.withheld) == 0 {
		return
	}
	left := e.queued
	for l := range e.links {
		holder, ok := l.proto.(interface{ flights() iter.Seq[*flight] })
		if !ok || l.rec == nil {
			continue
		}
		for fl := range holder.flights() {
			if held := fl.stalled(); held > 0 && left > e.cfg.MaxQueuedBytes/2 {
				left -= held
				fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "stalled"})
			}
		}
	}
	e.pressed()
}

// stalled is how many bytes the flight holds, if none went on for a while.
func (fl *flight) stalled() int {
	e := fl.e
	for _, f := range [...]*flow{&fl.req, &fl.resp} {
		if f.q.size > 0 && e.now.Sub(f.sentAt) >= e.cfg.Stall && e.now.Sub(fl.x.Begun) >= e.cfg.Stall {
			return fl.req.q.size + fl.resp.q.size
		}
	}
	return 0
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
