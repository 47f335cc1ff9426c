package forward

import (
	"errors"
	"io"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// h1Server is the server's end of an HTTP/1 connection: one request at a time. Pipelined ones wait in the socket.
type h1Server struct {
	conn  *conn
	in    h1.BodyReader
	out   h1Writer
	state h1State
	cur   *flight
	// closeAfter says that the connection ends after the current request: the client or a drain wants it, or the
	// request was broken.
	closeAfter bool
	halfClosed bool      // the client sent FIN
	expecting  bool      // the client waits for 100 before it sends the body
	discarded  int       // body bytes of requests that were responded to early
	pinned     *h1Client // the connection to a server that is authenticated as this client; nil without
}

type h1State uint8

const (
	h1Head   h1State = iota // between requests, or inside a head
	h1Body                  // inside a request's body
	h1Wait                  // the request is complete, the response is not
	h1Tunnel                // bytes go through
	h1Linger                // nothing more will be sent; read until the client has read everything (RFC 9112 §9.6)
)

const (
	lingerTime = time.Second
	// maxDiscard is how much of an unwanted request body is read to keep the connection.
	maxDiscard = 256 << 10
)

func newH1Server(conn *conn) *h1Server {
	s := &h1Server{conn: conn}
	s.out.conn = conn
	conn.timer.Fire = s.expired
	return s
}

func (s *h1Server) receive(in []byte) (n int, err error) {
	for n < len(in) && !s.conn.closed() {
		var used int
		switch s.state {
		case h1Head:
			used = s.head(in[n:])
		case h1Body:
			used = s.body(in[n:])
		case h1Wait: // a pipelined request waits for the response
			return n, s.conn.pause()
		case h1Tunnel:
			used = len(in) - n
			s.cur.req.write(in[n:], false)
		case h1Linger:
			return len(in), nil
		}
		n += used
		if s.cur != nil && s.cur.req.q.Size() >= bodyLimit { // the body waits for the server
			return n, s.conn.pause()
		}
		if used == 0 && s.state != h1Wait {
			break
		}
	}
	if s.state == h1Body || s.state == h1Tunnel {
		return n, sock.ErrMore
	}
	return n, nil
}

// head reads a request's head, if it is complete.
func (s *h1Server) head(in []byte) (used int) {
	e := s.conn.e
	end, err := s.in.Scan.Scan(in, e.cfg.MaxHeadBytes)
	if err == nil && end == 0 {
		if len(in) > 0 && !s.conn.timer.IsSet() {
			e.wheel.Set(&s.conn.timer, e.now.Add(e.cfg.HeadTimeout))
		}
		return 0
	}
	e.wheel.Cancel(&s.conn.timer)
	if err == nil && end == len("\r\n") {
		return end // RFC 9112 §2.2: ignore empty lines before the request
	}
	fl := e.newFlight(s, s.conn.rec)
	s.cur = fl
	var f h1.Framing
	if err == nil {
		f, err = h1.ParseRequest(in[:end], &fl.x.Request)
	}
	if err == nil && fl.x.Request.Size() > e.cfg.MaxHeadBytes {
		err = h1.ErrHeadTooLarge
	}
	if err != nil {
		s.badRequest(err)
		return len(in) // where another request would begin cannot be known
	}
	fl.x.Request.Del(h2.OrigProto)
	s.closeAfter = f.Close
	s.begin(fl, f)
	return end
}

// begin starts a request with a valid head.
func (s *h1Server) begin(fl *flight, f h1.Framing) {
	fl.req.from = s
	s.in.Begin(f)
	s.expecting = f.Expect
	switch f.Coding {
	case h1.NoBody:
		s.state, fl.req.ended = h1Wait, true
	case h1.Tunnel:
		if r := &fl.x.Request; string(r.Method()) != "CONNECT" && string(r.Method()) != "GET" {
			r.Place(message.Protocol, message.Span{}) // an upgrade that no proxy knows how to carry: it may be ignored
			s.state, fl.req.ended = h1Wait, true
			break
		}
		s.state, fl.wantsTunnel = h1Wait, true
	case h1.Length:
		fl.length = f.Length
		s.state = h1Body
	default:
		s.state = h1Body
	}
	fl.start()
}

// badRequest answers a request that cannot be understood. Its end is unknown too, so the connection ends with the
// answer.
func (s *h1Server) badRequest(err error) {
	f := exchange.Fault{Side: exchange.Downstream, Kind: exchange.Malformed, Err: err}
	var syntax *h1.Error
	if errors.As(err, &syntax) {
		f.Reason = syntax.Reason
		switch syntax.Class {
		case h1.TooLarge:
			f.Kind = exchange.HeadTooLarge
		case h1.Unsupported:
			f.Kind = exchange.Unsupported
		}
	}
	s.state, s.closeAfter = h1Linger, true
	s.cur.req.ended = true
	s.cur.fault(f)
}

func (s *h1Server) body(in []byte) (used int) {
	fl := s.cur
	s.expecting = false
	trailers := &s.conn.e.scratch
	if fl != nil {
		trailers = &fl.trailers
	}
	trailers.Reset()
	data, used, last, err := s.in.Next(in, trailers, s.conn.e.cfg.MaxHeadBytes)
	if fl == nil {
		s.discard(used, last, err)
		return used
	}
	if err != nil {
		if fl.responseBegun {
			fl.abandon(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Malformed, Err: err})
			s.conn.close(err)
			return used
		}
		s.badRequest(err)
		return len(in)
	}
	if last {
		s.state = h1Wait
		if trailers.Len() > 0 {
			fl.req.trailers = trailers
		}
	}
	if len(data) > 0 || last {
		fl.req.write(data, last)
	}
	return used
}

// discard drops the body of a request that was responded to already.
func (s *h1Server) discard(n int, last bool, err error) {
	s.discarded += n
	switch {
	case err != nil || s.discarded > maxDiscard:
		s.linger()
	case last:
		s.next()
	}
}

// consumed implements reader.
func (s *h1Server) consumed(b *body, _ int) {
	if b.q.Size() < bodyLimit/2 && s.state != h1Wait {
		s.conn.unpause()
	}
}

func (s *h1Server) push(b *body, p []byte) { s.out.push(b, p) }

func (s *h1Server) hasRoom() { s.out.hasRoom() }

func (s *h1Server) interim(fl *flight, h *message.Head) {
	if fl.x.Request.Version == message.HTTP10 || s.conn.room() <= 0 {
		return // RFC 9110 §15.2; nor does anyone need a hint who does not read
	}
	s.expecting = false
	s.conn.sendBuffer.Grew(h1.AppendResponse(s.conn.sendBuffer.Tail(h.Size()+128), h, h1.Framing{}, message.HTTP11))
	s.conn.markDirty()
}

func (s *h1Server) beginResponse(fl *flight) {
	h := &fl.x.Response
	f := h1.FrameResponse(h, &fl.x.Request, fl.resp.empty(), fl.isTunnel)
	// If the client waits for 100 (Continue), nobody knows whether it sends the body or its next request (RFC 9110
	// §10.1.1).
	f.Close = f.Close || s.closeAfter || s.halfClosed || s.conn.draining() ||
		s.state == h1Body && (s.expecting || s.refusesBody(h))
	s.closeAfter = f.Close
	s.conn.sendBuffer.Grew(h1.AppendResponse(s.conn.sendBuffer.Tail(h.Size()+128), h, f, fl.x.Request.Version))
	s.conn.markDirty()
	s.out.begin(&fl.resp, f.Coding)
	if fl.isTunnel {
		s.state = h1Tunnel
		s.conn.unpause()
	}
	s.out.push(&fl.resp, nil)
}

// refusesBody reports whether the response refuses a body, and more of it is left than would be read to keep the
// connection.
func (s *h1Server) refusesBody(h *message.Head) bool {
	return h.Status >= 400 && (s.in.Coding != h1.Length || s.in.Left > maxDiscard)
}

func (s *h1Server) leave(fl *flight) {
	s.cur, s.out.b = nil, nil
	switch {
	case s.conn.closed():
	case !fl.resp.sentEnd:
		s.breakOff(fl)
	case fl.isTunnel:
		s.conn.closeSoon()
	case s.closeAfter:
		s.linger()
	case s.state == h1Body: // responded to early: the rest of the body is read and dropped
		s.discarded = 0
		s.conn.unpause()
	default:
		s.next()
	}
}

// breakOff ends the connection so that the client sees an incomplete response. Where only the end of the connection
// marks the end of the body or of a tunnel, it must be a reset, behind what came of the response. A server that answers
// early and ends the connection resets it too.
func (s *h1Server) breakOff(fl *flight) {
	if fl.responseBegun && s.out.coding == h1.UntilClose && !fl.isTunnel {
		s.conn.reset = true
		s.state = h1Linger
		s.conn.closeSoon()
		s.conn.unpause()
		s.conn.e.wheel.Set(&s.conn.timer, s.conn.e.now.Add(lingerTime))
		return
	}
	if fl.isTunnel {
		s.conn.reset = true
	}
	s.conn.close(io.ErrUnexpectedEOF)
}

// next gets ready for another request.
func (s *h1Server) next() {
	if s.halfClosed || s.conn.draining() {
		s.linger()
		return
	}
	s.state = h1Head
	s.conn.unpause()
}

// linger sends what is left to send, then FIN. It closes when the client has, or after a while. Closing at once with
// unread bytes in the socket would reset the connection and could destroy the response on its way.
func (s *h1Server) linger() {
	s.state = h1Linger
	if s.halfClosed {
		s.conn.closeSoon()
		return
	}
	s.conn.closeWrite()
	s.conn.unpause()
	s.conn.e.wheel.Set(&s.conn.timer, s.conn.e.now.Add(lingerTime))
}

func (s *h1Server) expired() {
	switch {
	case s.state == h1Linger && !s.conn.reset && (s.conn.state == connFINPending || s.conn.state == connFinishing):
		// The client has yet to take the rest of the response, whether it has ended its own side or not.
		s.conn.e.wheel.Set(&s.conn.timer, s.conn.e.now.Add(lingerTime))
		return
	case s.state == h1Linger || s.cur != nil:
		s.conn.close(nil)
		return
	}
	s.cur = s.conn.e.newFlight(s, s.conn.rec)
	s.cur.req.ended = true
	s.state, s.closeAfter = h1Linger, true
	s.cur.fault(exchange.Fault{Side: exchange.Downstream, Kind: exchange.HeadTimeout, Reason: "head_timeout"})
}

func (s *h1Server) onClosed(err error) {
	s.abandonCurrent(err)
	if s.pinned != nil {
		s.pinned.conn.close(nil)
	}
}

// abandonCurrent ends the current exchange, if there is one, because the client is gone.
func (s *h1Server) abandonCurrent(err error) {
	if s.cur != nil {
		s.cur.abandon(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Disconnected, Err: err})
	}
}

func (s *h1Server) onFIN() {
	s.halfClosed = true
	switch s.state {
	case h1Wait: // the client has sent everything and still wants the answer
	case h1Tunnel:
		s.cur.req.write(nil, true)
	case h1Body:
		s.abandonCurrent(io.EOF)
		s.conn.closeSoon()
	default:
		s.conn.closeSoon()
	}
}

func (s *h1Server) drain() {
	if s.state == h1Head && s.cur == nil && !s.in.Scan.Pending() {
		s.linger()
	}
}
