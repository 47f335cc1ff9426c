package forward

import (
	"maps"
	"slices"
)

// A server says in its SETTINGS how many streams it takes, and refuses more, with RST_STREAM or GOAWAY. Up to firstStreams leave before the
// SETTINGS came, so a refusal may be our own doing: such a request waits for a free stream, as if it had not been sent.

// maxRefusals bounds how often one request waits again after a refusal. A server that refuses more often is not only busy.
const maxRefusals = 3

// unknown reports whether the server has not said yet how many streams it takes. No other connection is made meanwhile: this one may be
// enough.
func (c *h2Conn) unknown() bool { return !c.settled }

// holds reports whether the stream must not send its body yet, because the server may refuse the stream. Between proxies nothing is held: a
// mux takes more than firstStreams.
func (c *h2Conn) holds(s *stream) bool {
	return c.u != nil && !c.mux && (!c.settled || s.surplus)
}

// limited follows SETTINGS with another limit of streams. Under a lower one the server may refuse what is open, the latest first.
func (c *h2Conn) limited(lower bool) {
	c.u.streams = min(c.peer.MaxStreams, firstStreams)
	ids := slices.Sorted(maps.Keys(c.streams))
	for i, id := range ids {
		s := c.streams[id]
		if lower && !s.headed {
			s.early, s.surplus = true, i >= int(c.peer.MaxStreams)
			c.surplus = c.surplus || s.surplus
		}
		c.enqueue(s)
	}
	c.drained()
}

// accepted follows the response's head: the server has taken the request.
func (c *h2Conn) accepted(s *stream) {
	if !s.fl.x.Replay {
		s.fl.req.forget("")
	}
	if s.surplus {
		s.surplus = false
		c.enqueue(s)
		c.drained()
	}
}

// release lets the streams send that were surplus.
func (c *h2Conn) release() {
	c.surplus = false
	for _, s := range c.streams {
		s.surplus = false
		c.enqueue(s)
	}
	c.drained()
}

// resend lets a request that a server refused wait for another stream of u. It reports false if the request cannot be sent again or has
// been refused too often; then the handler decides.
func (fl *flight) resend(u *Upstream) bool {
	sent := fl.req.moved > 0 && !fl.req.keeps
	if sent || u.closed || fl.loose != nil || fl.refusals >= maxRefusals {
		return false
	}
	fl.refusals++
	fl.req.to, fl.req.sentEnd = nil, false
	fl.req.rewind()
	u.waiting.push(fl)
	fl.waiting = u
	return true
}
