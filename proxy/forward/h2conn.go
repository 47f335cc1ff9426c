package forward

import (
	"errors"
	"io"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/flood"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/hpack"
	"github.com/tulle-mesh/tulle/proxy/list"
	"github.com/tulle-mesh/tulle/proxy/message"
)

const (
	// streamWindow is what a stream may send at first. It doubles up to maxStreamWindow while its receiver keeps up.
	streamWindow    = 256 << 10
	maxStreamWindow = 4 << 20
	// maxConnWindow is what a connection may send at most. It begins with HTTP/2's own window, which doubles as it is
	// used. It is granted again as bytes arrive, as long as the engine holds less than Config.MaxQueuedBytes: one
	// stream that nobody reads must not stop the others.
	maxConnWindow = 16 << 20
	// firstStreams is how many streams leave before the server's SETTINGS say how many it takes. RFC 9113 §6.5.2
	// recommends that no server takes fewer.
	firstStreams = 100
	// goAwayDelay is the time between the two GOAWAY frames of a drain: at least a round trip (RFC 9113 §6.8).
	goAwayDelay = time.Second
)

var (
	errSilent     = errors.New("forward: peer does not answer a ping")
	errNoSettings = errors.New("forward: server sends no SETTINGS")
)

// stream is one side of an exchange on an HTTP/2 connection. Its zero value is no stream.
type stream struct {
	id        uint32
	fl        *flight
	in, out   *body // what the peer sends us, what we send the peer
	recv      h2.ReceiveWindow
	expect    int64 // body bytes that content-length still announces; -1 unknown
	send      h2.Window
	headed    bool                  // the peer's head is complete
	remoteEnd bool                  // the peer has ended
	localEnd  bool                  // we have
	early     bool                  // opened before the server's present limit of streams was known
	surplus   bool                  // beyond that limit: the server is about to refuse it
	sending   list.Element[*stream] // in h2Conn.senders
}

// h2Conn is either end of an HTTP/2 connection.
type h2Conn struct {
	conn    *conn
	u       *Upstream // nil at the server's end
	mux     bool
	private bool // for one tunnel only

	enc     *hpack.Encoder
	dec     *hpack.Decoder
	reader  h2.HeadReader
	peer    h2.Options
	streams map[uint32]*stream
	nextID  uint32 // of the next stream that we open
	lastID  uint32 // of the last stream that the peer opened

	send       h2.Window
	recv       h2.ReceiveWindow
	withheld   bool               // in Engine.withheld
	senders    list.List[*stream] // those that have something to send and a window for it
	moved      int64              // bytes of bodies that were sent
	lastMoved  int64              // moved at the last look (pressure.go)
	stoodStill int                // looks in a row at which it stood

	state        h2State
	handshake    h2Handshake
	liveness     h2Liveness // of a server, as its proxy on a Mux connection sees it
	surplus      bool       // there are streams that are surplus
	block        []byte
	blockOf      h2.FrameHeader // the HEADERS frame that CONTINUATION frames follow; StreamID 0 without
	blockCharge  int            // bytes of block in Engine.partialHeads
	fragments    int            // small ones
	recentResets flood.Resets
	kind         flood.PeerKind
	abuse        flood.Budget // malformed and refused streams
	resets       flood.Budget // streams that the peer reset
	throttled    bool         // resets have used it up, and streams are refused until it fills: see throttles
	control      flood.Budget // frames that carry nothing
}

func newH2Conn(conn *conn, mux bool, u *Upstream) *h2Conn {
	c := &h2Conn{
		conn: conn, u: u, mux: mux, enc: hpack.NewEncoder(), dec: hpack.NewDecoder(), peer: h2.PeerDefaults(),
		streams: map[uint32]*stream{}, nextID: 1, send: h2.InitialWindow,
		recv: h2.NewReceiveWindow(h2.InitialWindow), kind: flood.KindOf(u != nil, mux, conn.e.cfg.LocalClients),
	}
	c.abuse, c.resets, c.control = c.kind.Budgets()
	conn.timer.Fire = c.expired
	out := conn.sendBuffer.Tail(128)
	if u != nil {
		out = append(out, h2.Preface...)
		c.handshake = h2AwaitsSettings
	}
	own := h2.Options{
		MaxStreams: uint32(c.limit()), InitialWindow: streamWindow, MaxHeaderList: uint32(c.listLimits().Read),
	}
	conn.sendBuffer.Grew(h2.AppendSettings(out, own, u != nil))
	return c
}

// limit is how many streams a client may have open.
func (c *h2Conn) limit() int {
	if c.mux {
		return maxStreams * flood.MuxFactor
	}
	return maxStreams
}

func (c *h2Conn) client() bool { return c.u != nil }

func (c *h2Conn) streamOf(fl *flight) *stream {
	if c.client() {
		return &fl.us
	}
	return &fl.ds
}

// takesStream reports whether the connection has room for one more stream of ours.
func (c *h2Conn) takesStream() bool {
	most := min(c.peer.MaxStreams, 1<<20)
	if c.handshake != h2Ready {
		most = min(c.u.streamLimit, firstStreams)
	}
	return c.state == h2Open && !c.conn.closed() && c.conn.writeErr == nil && len(c.streams) < int(most)
}

func (c *h2Conn) open(fl *flight, id uint32) *stream {
	s := c.streamOf(fl)
	*s = stream{
		id: id, fl: fl, recv: h2.NewReceiveWindow(streamWindow), expect: -1, send: h2.Window(c.peer.InitialWindow),
	}
	s.in, s.out = &fl.req, &fl.resp
	if c.client() {
		s.in, s.out = s.out, s.in
	}
	s.in.from = c
	c.streams[id] = s
	return s
}

// request opens a stream for the flight's request.
func (c *h2Conn) request(fl *flight) {
	s := c.open(fl, c.nextID)
	if len(c.streams) == 1 {
		c.leaveIdle()
	}
	c.nextID += 2
	if c.nextID > h2.MaxStreamID-2 {
		c.drain()
	}
	fl.req.to = c
	s.localEnd = fl.req.empty() && !fl.wantsTunnel
	e := c.conn.e
	if !c.mux && !fl.req.empty() {
		fl.req.replayShort()
	}
	e.block = c.requestBlock(e.block[:0], fl)
	c.write(h2.AppendHeaders(c.conn.sendBuffer.Tail(len(e.block)+64), s.id, e.block, s.localEnd))
	c.allowControl()
	if s.localEnd {
		fl.req.end()
		return
	}
	c.push(&fl.req, nil)
}

func (c *h2Conn) write(out []byte) {
	c.conn.sendBuffer.Grew(out)
	c.conn.markDirty()
}

// interim implements downstreamConn.
func (c *h2Conn) interim(fl *flight, h *message.Head) {
	if c.conn.room() <= 0 {
		return
	}
	e := c.conn.e
	e.block = h2.AppendBlock(e.block[:0], c.enc, h, h2.Response)
	c.write(h2.AppendHeaders(c.conn.sendBuffer.Tail(len(e.block)+64), fl.ds.id, e.block, false))
}

// beginResponse implements downstreamConn.
func (c *h2Conn) beginResponse(fl *flight) {
	s, e := &fl.ds, c.conn.e
	s.localEnd = fl.resp.empty() && !fl.isTunnel
	e.block = c.responseBlock(e.block[:0], fl)
	c.write(h2.AppendHeaders(c.conn.sendBuffer.Tail(len(e.block)+64), s.id, e.block, s.localEnd))
	c.allowControl()
	if s.localEnd {
		fl.resp.end()
		return
	}
	c.push(&fl.resp, nil)
}

// leave implements downstreamConn and upstreamConn. It resets a stream that is not complete.
func (c *h2Conn) leave(fl *flight) {
	s := c.streamOf(fl)
	if s.id == 0 || c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if s.localEnd && s.remoteEnd {
		if f := &fl.x.Fault; !f.Is() || f.Side != exchange.Downstream { // what a client did wrong is no achievement
			c.abuse.Refund(1)
			c.resets.Refund(1)
		}
	} else if !c.conn.closed() && c.state != h2Failed {
		c.reset(s.id, c.resetCode(fl, s))
	}
	s.sending.Remove()
	c.streamClosed()
}

// resetCode is the code of the reset that ends an incomplete stream.
func (c *h2Conn) resetCode(fl *flight, s *stream) h2.Code {
	switch {
	case !c.client() && s.localEnd:
		return h2.NoError // RFC 9113 §8.1: the response is complete, the rest of the request is not wanted
	case c.client():
		return h2.Cancel
	case fl.code != h2.NoError:
		return fl.code // what the server said, or what is wrong with the request
	case fl.x.Fault.Side == exchange.Downstream:
		return h2.Cancel
	}
	return h2.InternalError
}

// streamClosed follows the end of a stream.
func (c *h2Conn) streamClosed() {
	switch {
	case c.conn.closed():
	case len(c.streams) == 0 && (c.private || c.state == h2Draining && c.client() || c.state == h2GoneAway):
		c.conn.closeSoon()
	case c.client() && len(c.streams) == 0:
		c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(c.idleTimeout()))
	}
	if !c.client() {
		return
	}
	if c.surplus && len(c.streams) <= int(c.peer.MaxStreams) {
		c.releaseSurplus()
	}
	if c.u.waiting.Len() > 0 {
		c.u.serveWaiting()
	}
}

// reset sends RST_STREAM and remembers that frames of the stream may still be under way.
func (c *h2Conn) reset(id uint32, code h2.Code) {
	c.recentResets.Add(id, c.limit())
	c.write(h2.AppendReset(c.conn.sendBuffer.Tail(16), id, code))
	c.allowControl()
}

// fail ends the connection with an error, RFC 9113 §5.4.1.
func (c *h2Conn) fail(err *h2.Error) {
	if c.state == h2Failed {
		return
	}
	c.state = h2Failed
	c.write(h2.AppendGoAway(c.conn.sendBuffer.Tail(64), c.lastID, err.Code, err.Reason))
	c.reportEnd(err)
	c.endStreams(err)
	c.conn.err = err
	c.conn.closeWrite()
	c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(lingerTime))
}

// endStreams ends every stream because the connection has.
func (c *h2Conn) endStreams(err error) {
	c.dropBlock()
	if c.client() {
		c.u.removeShared(c)
	}
	for id, s := range c.streams {
		delete(c.streams, id)
		s.sending.Remove()
		c.failStream(s, err)
	}
}

// failStream ends the flight of a stream that the end of the connection cut off.
func (c *h2Conn) failStream(s *stream, err error) {
	fl := s.fl
	if !c.client() {
		fl.abandon(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Disconnected, Err: err})
		return
	}
	if fl.up = nil; s.complete() {
		return
	}
	f := exchange.Fault{Side: exchange.Upstream, Kind: exchange.Lost, Err: err, SafeToResend: !s.headed && idempotent(fl)}
	var broken *h2.Error
	if errors.As(err, &broken) {
		f.Kind, f.Reason = exchange.BadResponse, broken.Reason
	}
	if f.Err == nil || errors.Is(err, io.EOF) {
		f.Err = io.ErrUnexpectedEOF
	}
	fl.fault(f)
}

// complete reports whether the whole response came, so that it only has to be passed on, whatever becomes of its
// stream. A tunnel needs the other direction too.
func (s *stream) complete() bool { return s.remoteEnd && !s.fl.isTunnel }

// idempotent reports whether a request has an idempotent method (RFC 9110 §9.2.2) and no body: it may be sent again
// even if the server may have processed it.
func idempotent(fl *flight) bool { return fl.req.empty() && fl.x.Request.IsIdempotent() }

func (c *h2Conn) onFIN() { c.conn.close(io.EOF) }

func (c *h2Conn) onClosed(err error) { c.endStreams(err) }
