package forward

import "github.com/tulle-mesh/tulle/proxy/h2"

// h2State is how far an HTTP/2 connection has come to its end. It only grows.
type h2State uint8

const (
	h2Open     h2State = iota
	h2Draining         // no new streams of ours; or the first GOAWAY of two was sent
	h2GoneAway         // the final GOAWAY was sent: streams that come are refused
	h2Failed           // a connection error was sent: what comes is dropped
)

// h2Handshake is what the peer has sent of its connection preface, RFC 9113 §3.4.
type h2Handshake uint8

const (
	h2AwaitsPreface h2Handshake = iota // of a client
	h2AwaitsSettings
	h2Ready
)

// h2Liveness says when a peer that owes answers was heard last.
type h2Liveness uint8

const (
	h2Heard  h2Liveness = iota // since the last look
	h2Silent                   // not since the last look
	h2Pinged                   // nor since a ping was sent
)

// drain ends the connection in order: a client's end opens no more streams, a server's end sends GOAWAY twice.
func (c *h2Conn) drain() {
	if c.state != h2Open {
		return
	}
	c.state = h2Draining
	if c.client() {
		c.u.removeShared(c)
		c.streamClosed()
		return
	}
	c.write(h2.AppendGoAway(c.conn.sendBuffer.Tail(32), h2.MaxStreamID, h2.NoError, ""))
	c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(goAwayDelay))
}

// expired is the timer's callback for the preface, heads in pieces, the drain, the idle time and the end, one after the
// other.
func (c *h2Conn) expired() {
	switch {
	case c.state == h2Failed:
		c.conn.close(c.conn.err)
	case c.client():
		c.onClientTimer()
	case c.handshake != h2Ready:
		c.fail(&h2.Error{Code: h2.ProtocolError, Reason: "preface_timeout"})
	case c.state == h2Draining:
		c.state = h2GoneAway
		c.write(h2.AppendGoAway(c.conn.sendBuffer.Tail(32), c.lastID, h2.NoError, ""))
		c.streamClosed()
	case c.blockOf.StreamID != 0:
		c.fail(&h2.Error{Code: h2.EnhanceYourCalm, Reason: "head_timeout"})
	}
}

// leaveIdle follows the first stream of an idle client connection. Only a proxy of the mesh is pinged while it is
// silent: gRPC servers end a connection that is pinged more than once in 5 minutes without data (gRFC A8). TCP
// keepalive finds other servers that are gone.
func (c *h2Conn) leaveIdle() {
	e := c.conn.e
	c.liveness = h2Heard
	switch {
	case c.mux:
		e.wheel.Set(&c.conn.timer, e.now.Add(e.cfg.Silence))
	case c.handshake != h2Ready:
		e.wheel.Set(&c.conn.timer, e.now.Add(e.cfg.HeadTimeout))
	default:
		e.wheel.Cancel(&c.conn.timer)
	}
}

// onClientTimer closes an idle connection, lets surplus streams send, or pings the silent peer of a busy connection.
func (c *h2Conn) onClientTimer() {
	switch {
	case len(c.streams) == 0:
		if c.allowsNone() {
			c.u.failWaiting()
		}
		c.u.removeShared(c)
		c.conn.closeSoon()
		return
	case !c.mux && c.handshake == h2Ready:
		c.releaseSurplus() // the server has refused none of them
		return
	case !c.mux:
		c.conn.close(errNoSettings)
		return
	case c.liveness == h2Heard:
		c.liveness = h2Silent
	case c.liveness == h2Pinged:
		c.conn.close(errSilent)
		return
	default:
		c.liveness = h2Pinged
		c.write(h2.AppendPing(c.conn.sendBuffer.Tail(32), 0, make([]byte, 8)))
	}
	c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(c.conn.e.cfg.Silence))
}
