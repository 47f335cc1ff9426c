package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// A detached flight has no client, and its response goes nowhere. Mirror makes detached flights that carry a copy of a
// request elsewhere. An attempt whose response is not wanted makes one that receives the rest.

const (
	// copyRoom is how much of a copied body may wait for its server before the copy is given up.
	copyRoom = 64 << 10
	// unwantedRoom and unwantedTime bound the rest of an unwanted response. Beyond them its connection or stream is
	// cut.
	unwantedRoom = 64 << 10
	unwantedTime = time.Second
)

// detached is what only a detached flight needs.
type detached struct {
	original *flight // that it is a copy of; nil as soon as that has ended
	next     *flight // in the list of the original's copies
	to       *Upstream
	done     func(copied *exchange.Exchange)
}

// nowhere is the client of a detached flight.
type nowhere struct{}

func (nowhere) interim(*flight, *message.Head) {}
func (n nowhere) beginResponse(fl *flight)     { n.push(&fl.resp, nil) }
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

// Mirror sends a copy of x, as it is now, to u as well: head, and body as it comes. Only Handler.Route may call it, and
// it must then give x to an Upstream. Mirror returns the copy's exchange, whose Request and timeouts Route may edit.
// When the copy has ended, done is called with it, with the lock held. The copy is never sent twice, its response is
// dropped, and it never makes the original wait: a body that its server does not take in time is given up, as
// Overloaded with Reason "copy". Mirror returns nil where there is no room for a copy, or x is a tunnel.
func (e *Engine) Mirror(x *exchange.Exchange, u *Upstream, done func(copied *exchange.Exchange)) *exchange.Exchange {
	fl := e.inRoute
	full := e.copies >= e.cfg.MaxCopies || e.inFlight >= maxExchanges
	if full || fl == nil || &fl.x != x || fl.wantsTunnel || fl.req.moved > 0 {
		return nil
	}
	c := e.newFlight(nowhere{}, x.Conn)
	c.detached = &detached{original: fl, to: u, done: done, next: fl.copies}
	fl.copies = c
	e.copies++
	c.x.Request.CopyFrom(&x.Request)
	c.length = fl.length
	for p := range fl.req.q.All() { // it came before there was anywhere to send it
		c.req.total += int64(len(p))
		c.req.enqueue(p)
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
		if waiting := c.req.q.Size(); waiting > copyRoom || waiting > 0 && e.queued > e.cfg.MaxQueuedBytes/4 {
			c.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "copy"})
		}
		c = next
	}
}

// dropCopies separates the copies from a request that has ended. A copy whose body is complete goes on by itself.
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

// endDetached ends a detached flight: it leaves its original and calls done.
func (fl *flight) endDetached() {
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

// drainUnwanted hands the rest of an unwanted response to a detached flight, so that its connection or stream ends in
// order. If the request is not complete or nothing is left to come, leaving the upstream is enough.
func (fl *flight) drainUnwanted() {
	if fl.up == nil || !fl.req.sentEnd || fl.resp.ended || fl.wantsTunnel {
		return
	}
	rest := fl.e.newFlight(nowhere{}, fl.x.Conn)
	rest.detached = &fl.e.unwanted
	rest.req.ended, rest.req.sentEnd, rest.responseBegun = true, true, true
	rest.up, fl.up = fl.up, nil
	rest.x.Timeouts.Request = unwantedTime
	rest.up.reassign(fl, rest)
	rest.arm()
}

// reassign implements upstreamConn.
func (c *h1Client) reassign(_, to *flight) {
	c.cur, to.resp.from = to, c
}

// reassign implements upstreamConn.
func (c *h2Conn) reassign(from, to *flight) {
	s := &to.us
	*s, from.us = from.us, stream{}
	s.fl, s.in, s.out = to, &to.resp, &to.req
	to.resp.from = c
	c.streams[s.id] = s
}
