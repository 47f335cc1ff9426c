package forward

import (
	"net"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/flood"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// ConnEnd is the end of a connection whose peer broke the rules of HTTP/2 or flooded it.
type ConnEnd struct {
	Peer flood.PeerKind
	// Conn is nil unless the peer is a client.
	Conn   *exchange.Conn
	Remote net.Addr
	Fault  exchange.Fault
}

// resetCost is what a client's reset of s takes from its budget. s is nil if the stream has ended.
func (c *h2Conn) resetCost(s *stream) float64 {
	if s == nil {
		return 1
	}
	return c.kind.ResetCost(c.conn.e.now.Sub(s.fl.x.Begun), s.fl.responseBegun)
}

// throttles reports whether a new stream of a meshed client is refused because the client reset too many. Its
// connection must not end: it carries the streams of many clients, and one of them may have deadlines of a few
// milliseconds. A refused stream costs less work than a served one, and the peer sends it again elsewhere or later.
func (c *h2Conn) throttles() bool {
	if !c.throttled {
		return false
	}
	if c.throttled = !c.resets.Take(c.conn.e.now, 0); c.throttled {
		f := exchange.Fault{Side: exchange.Downstream, Kind: exchange.Flood, Reason: flood.RapidReset}
		c.conn.e.cfg.Report(c.conn.rec, f)
	}
	return c.throttled
}

// allowControl allows the peer the control frames that a frame of ours may cause.
func (c *h2Conn) allowControl() { c.control.Refund(flood.Provoked) }

// reportEnd reports why the connection ends.
func (c *h2Conn) reportEnd(err *h2.Error) {
	f := exchange.Fault{Side: exchange.Downstream, Kind: exchange.Malformed, Reason: err.Reason, Err: err}
	if c.client() {
		f.Side, f.Kind = exchange.Upstream, exchange.BadResponse
	}
	if err.Code == h2.EnhanceYourCalm {
		f.Kind = exchange.Flood
	}
	if c.conn.rec != nil {
		c.conn.e.cfg.Report(c.conn.rec, f)
	}
	c.conn.e.cfg.Ended(ConnEnd{Peer: c.kind, Conn: c.conn.rec, Remote: c.conn.sock.RemoteAddr(), Fault: f})
}
