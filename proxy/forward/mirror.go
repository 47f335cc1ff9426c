package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// A flight may be detached: no client waits for it, and its response goes nowhere. Mirror makes such flights, which send a copy of a
// request elsewhere, and so does an attempt whose response is not wanted, to let it run out.

const (
	// copyRoom is how much of a body waits for the server that gets the copy before the copy is given up.
	copyRoom = 64 << 10
	// unwantedRoom and unwantedTime bound a response that runs out; after them its connection or stream is cut.
	unwantedRoom = 64 << 10
	unwantedTime = time.Second
)

// detached is what a detached flight has that others do not need.
type detached struct {
	original *flight // that it is a copy of; nil as soon as that has ended
	next     *flight // in the list of the original's copies
	to       *Upstream
	done     func(copied *exchange.Exchange)
}

// nowhere is the client of a detached flight.
type nowhere struct{}

func (nowhere) interim(*flight, *message.Head) {}
func (n nowhere) answer(fl *flight)            { n.push(&fl.resp, nil) }
func (nowhere) leave(*flight)                  {}

// push implements writer.
func (nowhere) push(b *body, p []byte) {
	b.advance(len(p))
	switch {
	case b.ended:
		b.end()
	case b.fl.detached.to == nil && b.total > unwantedRoom:
		b.fl.abandon(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Rejected, Reason: "unwanted"})
	}
}

// Mirror sends a copy of x, as it is now, to u as well: head, and body as it flows. It may be called from Handler.Route only, which then
// must give x to an Upstream. It returns the copy's exchange, whose Request and timeouts Route may edit; done is called with it when the
// copy has ended, with the lock held. The copy is never sent twice, its response is thrown away, and it never makes the original wait: a
// body that its server does not take in time is given up, as Overloaded with Reason "copy". It returns nil where there is no room for a
// copy, or x is a tunnel.
func (e *Engine) Mirror(x *exchange.Exchange, u *Upstream, done func(copied *exchange.Exchange)) *exchange.Exchange {
	fl := e.routing
	if fl == nil || &fl.x != x || fl.tunnel || fl.req.moved > 0 || e.copies >= e.cfg.MaxCopies || e.inFlight >= e.cfg.MaxExchanges {
		return nil
	}
	c := e.newFlight(nowhere{}, x.Conn)
	c.detached = &detached{original: fl, to: u, done: done, next: fl.copies}
	fl.copies = c
	e.copies++
	c.x.Request.CopyFrom(&x.Request)
	c.length = fl.length
	for i := range fl.req.q.chunks { // it came before there was anywhere to send it
		c.req.total += int64(len(fl.req.q.chunks[i].b))
		c.req.enqueue(fl.req.q.chunks[i].b)
	}
	if c.req.ended = fl.req.ended; fl.req.trailers != nil {
		c.trailers.CopyFrom(fl.req.trailers)
		c.req.trailers = &c.trailers
	}
	return &c.x
}

// sendCopies sends the copies that Route has asked for.
func (fl *flight) sendCopies() {
	for c := fl.copies; c != nil; {
		next := c.detached.next
		if c.x.Attempts == 0 {
			c.x.Attempts, c.x.Sent = 1, c.e.now
			c.detached.to.assign(c)
			if !c.ended {
				c.arm()
			}
		}
		c = next
	}
}

// copyBody gives the copies what the reader gives.
func (fl *flight) copyBody(p []byte, last bool) {
	e := fl.e
	for c := fl.copies; c != nil; {
		next := c.detached.next
		if last && fl.req.trailers != nil {
			c.trailers.CopyFrom(fl.req.trailers)
			c.req.trailers = &c.trailers
		}
		c.req.write(p, last)
		if held := c.req.q.size; held > copyRoom || held > 0 && e.queued > e.cfg.MaxQueuedBytes/4 {
			c.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "copy"})
		}
		c = next
	}
}

// dropCopies parts with the copies of a request that has ended. One whose body is complete goes on by itself.
func (fl *flight) dropCopies() {
	for c := fl.copies; c != nil; {
		next := c.detached.next
		c.detached.original, c.detached.next = nil, nil
		if !c.req.ended {
			c.fault(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Disconnected, Reason: "copy"})
		}
		c = next
	}
	fl.copies = nil
}

// detach ends a detached flight's part in its original.
func (fl *flight) detach() {
	d := fl.detached
	if d.to != nil {
		fl.e.copies--
	}
	if d.original != nil {
		at := &d.original.copies
		for *at != fl {
			at = &(*at).detached.next
		}
		*at = d.next
	}
	if d.done != nil {
		d.done(&fl.x)
	}
}

// drainUnwanted hands the rest of a response that is not wanted to a detached flight, so that its connection or stream ends in order. Where the
// request is not complete, or there is nothing to come, leaving the upstream does.
func (fl *flight) drainUnwanted() {
	if fl.up == nil || !fl.req.sentEnd || fl.resp.ended || fl.tunnel {
		return
	}
	rest := fl.e.newFlight(nowhere{}, fl.x.Conn)
	rest.detached = &fl.e.unwanted
	rest.req.ended, rest.req.sentEnd, rest.answered = true, true, true
	rest.up, fl.up = fl.up, nil
	rest.x.TotalTimeout = unwantedTime
	rest.up.reassign(fl, rest)
	rest.arm()
}

// reassign implements upstream.
func (c *h1Client) reassign(_, to *flight) {
	c.cur, to.resp.from = to, c
}

// reassign implements upstream.
func (c *h2Conn) reassign(from, to *flight) {
	s := &to.us
	*s, from.us = from.us, stream{}
	s.fl, s.in, s.out = to, &to.resp, &to.req
	to.resp.from = c
	c.streams[s.id] = s
}
