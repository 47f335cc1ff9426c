package forward

import (
	"maps"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// A server's SETTINGS say how many streams it takes. It refuses more, with RST_STREAM or GOAWAY. Up to firstStreams
// leave before the SETTINGS came, so a refusal may be our own fault: such a request waits for a free stream, as if it
// had not been sent.

// maxRefusals bounds how often one request waits again after a refusal. A server that refuses more often is not only
// busy.
const maxRefusals = 3

// refusalTime is how long a server has to refuse the streams beyond a new limit. If it does not, it may let them
// complete (RFC 9113 §6.5.2), and waits for their bodies: Netty applies a limit only to streams that are opened after
// our acknowledgement.
const refusalTime = time.Second

// awaitsSettings reports whether the server has not said yet how many streams it takes. No other connection is made
// meanwhile: this one may be enough.
func (c *h2Conn) awaitsSettings() bool { return c.handshake != h2Ready }

// withholdsBody reports whether the stream must not send its body yet, because the server may refuse the stream.
// Between proxies no body waits: a Mux connection takes more than firstStreams.
func (c *h2Conn) withholdsBody(s *stream) bool {
	return c.u != nil && !c.mux && (c.handshake != h2Ready || s.surplus)
}

// onStreamLimit follows SETTINGS with another limit of streams. Under a lower limit the server may refuse open streams,
// the latest first.
func (c *h2Conn) onStreamLimit(lower bool) {
	c.u.streamLimit = min(c.peer.MaxStreams, firstStreams)
	ids := slices.Sorted(maps.Keys(c.streams))
	for i, id := range ids {
		s := c.streams[id]
		if lower && !s.headed {
			s.early, s.surplus = true, i >= int(c.peer.MaxStreams)
			c.surplus = c.surplus || s.surplus
		}
		c.enqueue(s)
	}
	switch {
	case len(c.streams) == 0:
		c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(c.idleTimeout()))
	case c.surplus && len(c.streams) <= int(c.peer.MaxStreams):
		c.releaseSurplus()
	case c.surplus && !c.mux:
		c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(refusalTime))
	}
	c.hasRoom()
}

// allowsNone reports whether the server allows no stream although none is open, so that no end of a stream makes it
// allow another.
func (c *h2Conn) allowsNone() bool {
	limit := c.u.streamLimit
	if c.handshake == h2Ready {
		limit = c.peer.MaxStreams
	}
	return limit == 0 && len(c.streams) == 0
}

// idleTimeout is how long a connection without streams stays open.
func (c *h2Conn) idleTimeout() time.Duration {
	if c.allowsNone() {
		return min(c.conn.e.cfg.EndpointTimeout, idleTimeoutShared)
	}
	return idleTimeoutShared
}

// failWaiting gives up the flights that wait for a stream of a server that allows none. RFC 9113 §6.5.2 wants a limit
// of zero for a short time only.
func (u *Upstream) failWaiting() {
	u.streamLimit = firstStreams // the next connection is asked anew
	if slices.ContainsFunc(u.shared, func(c *h2Conn) bool { return len(c.streams) > 0 }) {
		return
	}
	f := exchange.Fault{Side: exchange.Upstream, Kind: exchange.DialTimeout, Reason: "no_streams", SafeToResend: true}
	for n := u.waiting.Len(); n > 0 && u.waiting.First() != nil; n-- {
		fl := u.waiting.First()
		fl.unlist()
		fl.fault(f)
	}
}

// onAccepted follows the response's head: the server has taken the request.
func (c *h2Conn) onAccepted(s *stream) {
	if !s.fl.x.BufferBody {
		s.fl.req.replay.Drop("", &s.fl.e.replays)
	}
	if s.surplus {
		s.surplus = false
		c.enqueue(s)
		c.hasRoom()
	}
}

// releaseSurplus lets the surplus streams send.
func (c *h2Conn) releaseSurplus() {
	c.surplus = false
	for _, s := range c.streams {
		s.surplus = false
		c.enqueue(s)
	}
	c.hasRoom()
}

// refused is the fault of a request that the server certainly did not process.
func refused(reason string) exchange.Fault {
	return exchange.Fault{Side: exchange.Upstream, Kind: exchange.Refused, Reason: reason, SafeToResend: true}
}

// requeue lets a request that a server refused wait for another stream of u. It returns false if the request cannot be
// sent again or was refused too often. Then the handler decides.
func (fl *flight) requeue(u *Upstream) bool {
	sent := fl.req.moved > 0 && !fl.req.replay.Active()
	own := fl.wantsTunnel && u.cfg.Protocol == Mux // it has a connection of its own
	if sent || own || u.closed || fl.detached != nil || fl.refused >= maxRefusals {
		return false
	}
	fl.refused++
	fl.code = h2.NoError // a client that saw the refusal later would send again what may have been processed
	fl.req.to, fl.req.sentEnd = nil, false
	fl.req.rewind()
	u.waiting.Push(&fl.place, fl)
	fl.waiting = u
	return true
}
