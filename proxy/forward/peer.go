package forward

import (
	"net"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// PeerKind is the kind of peer at the other end of an HTTP/2 connection. It decides how much useless work the peer may
// cause before the connection ends.
type PeerKind uint8

// The kinds of peer. A client connected to us; we connected to a server.
const (
	UnmeshedClient PeerKind = iota
	MeshedClient
	LocalClient // a process of this pod
	UnmeshedServer
	MeshedServer
)

// String returns the word that metrics, logs and documents share.
func (k PeerKind) String() string {
	return [...]string{"unmeshed_client", "meshed_client", "local_client", "unmeshed_server", "meshed_server"}[k]
}

// ConnEnd is the end of a connection whose peer broke the rules of HTTP/2 or flooded it.
type ConnEnd struct {
	Peer PeerKind
	// Conn is nil unless the peer is a client.
	Conn   *exchange.Conn
	Remote net.Addr
	Fault  exchange.Fault
}

func peerKind(e *Engine, mux bool, u *Upstream) PeerKind {
	switch {
	case u != nil && mux:
		return MeshedServer
	case u != nil:
		return UnmeshedServer
	case mux:
		return MeshedClient
	case e.cfg.LocalClients:
		return LocalClient
	}
	return UnmeshedClient
}

const (
	// honestAge is the age from which a stream's reset is free. A peer whose streams live so long gets no more requests
	// in than its limit of streams allows, and rapid reset exists to get round that limit. Most deadlines are longer.
	honestAge = 10 * time.Millisecond
	// provoked is how many control frames a peer may send for each of our frames. grpc-go, C-core and Java measure the
	// connection with PING and WINDOW_UPDATE, of the stream and of the connection, when DATA arrives. Envoy allows 10
	// WINDOW_UPDATE frames.
	provoked = 4
	// roomy is the window from which DATA allows control frames. A peer that grants its window in crumbs must not earn
	// more frames with each (CVE-2019-9511).
	roomy = 16 << 10
)

// budgets returns the budgets of a new connection.
func (k PeerKind) budgets() (abuse, control budget) {
	abuse, control = budget{burst: 1000, rate: 100}, budget{burst: 4000, rate: 1000}
	switch k {
	case MeshedClient: // it carries the streams of many clients
		abuse = budget{burst: 1000 * muxFactor, rate: 100 * muxFactor}
	case LocalClient: // as many calls as one can make may have deadlines of a millisecond
		abuse = budget{burst: 20_000, rate: 10_000}
	}
	return abuse, control
}

// resetCost is what a client's reset of a stream takes from its budget: always a token for a stranger. For other
// clients it is less the older the stream is, and nothing once the response has begun, because the stream has then cost
// the client as much as any other.
func (c *h2Conn) resetCost(s *stream) float64 {
	switch {
	case c.kind == UnmeshedClient:
		return 1
	case s.fl.answered:
		return 0
	}
	age := c.conn.e.now.Sub(s.fl.x.Begun)
	return max(0, 1-float64(age)/float64(honestAge))
}

// rapidReset is the reason of a flood of resets, CVE-2023-44487.
const rapidReset = "rapid_reset"

// throttles reports whether a new stream of a meshed client is refused because the client reset too many. Its
// connection must not end: it carries the streams of many clients, and one of them may have deadlines of a few
// milliseconds. A refused stream costs less work than a served one, and the peer sends it again elsewhere or later.
func (c *h2Conn) throttles() bool {
	if !c.throttled {
		return false
	}
	if c.throttled = !c.abuse.take(c.conn.e.now, 0); c.throttled {
		f := exchange.Fault{Side: exchange.Downstream, Kind: exchange.Flood, Reason: rapidReset}
		c.conn.e.cfg.Report(c.conn.rec, f)
	}
	return c.throttled
}

// allowControl allows the peer the control frames that a frame of ours may cause.
func (c *h2Conn) allowControl() { c.control.refund(provoked) }

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

// budget is a token bucket against peers that cause useless work. What a peer achieves fills it too, so that a busy
// honest peer never runs out.
type budget struct {
	burst, rate float64 // tokens at most; tokens a second
	used        float64
	at          time.Time
}

// spend takes a token and reports whether there was one.
func (b *budget) spend(now time.Time) bool { return b.take(now, 1) }

// take takes n tokens and reports whether there were so many.
func (b *budget) take(now time.Time, n float64) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	b.used += n
	return b.used <= b.burst
}

// refund gives n tokens back.
func (b *budget) refund(n float64) { b.used = max(0, b.used-n) }

// recent remembers the streams that were reset last. Frames of theirs may still arrive, for as many as may be open at
// once.
type recent struct {
	ids []uint32 // a ring once it is full
	at  int
}

func (r *recent) add(id uint32, most int) {
	if len(r.ids) < most {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.at] = id
	r.at = (r.at + 1) % most
}

func (r *recent) has(id uint32) bool { return slices.Contains(r.ids, id) }
