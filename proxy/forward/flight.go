package forward

import (
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/list"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/wheel"
)

// downstreamConn is the connection that a request came on.
type downstreamConn interface {
	writer
	// interim forwards a 1xx response.
	interim(fl *flight, h *message.Head)
	// beginResponse sends x.Response's head; fl.resp follows.
	beginResponse(fl *flight)
	// leave takes off a flight that has ended. If the response is not complete, the client must notice.
	leave(fl *flight)
}

// upstreamConn is the connection that a request goes out on.
type upstreamConn interface {
	// request begins the request: x.Request goes out, fl.req follows.
	request(fl *flight)
	// leave takes off a flight. If the exchange is not complete, the server must notice.
	leave(fl *flight)
	// reassign moves the rest of a response to another flight. The request is complete.
	reassign(from, to *flight)
}

// flight is an exchange on its way. It is in exactly one place: with the handler, waiting for an endpoint, delayed, in
// an upstream's queue, waiting for a dial of its own, on a connection, or responded to by the proxy alone.
type flight struct {
	x    exchange.Exchange
	e    *Engine
	down downstreamConn
	up   upstreamConn // nil while it is on no connection

	req, resp body
	ds, us    stream       // its streams, where the connections speak HTTP/2
	length    int64        // the request's content length; -1 unknown
	headBytes int          // what its head adds to Engine.largeHeads
	trailers  message.Head // of the request
	code      h2.Code      // that the server reset the stream with

	wantsTunnel   bool // asks for one: CONNECT or Upgrade
	isTunnel      bool
	responseBegun bool // the final response's head went downstream
	ended         bool
	seen          bool // by the handler

	place      list.Element[*flight] // in the list that it waits in
	waiting    *Upstream             // that it waits for
	refused    int                   // how often; each time it waits for another stream
	serial     int64                 // changes when the memory serves another exchange
	endpointBy time.Time
	wakeAt     time.Time // of a delayed one
	moved      time.Time // when a body byte moved last
	timer      wheel.Timer
	copies     *flight   // of the request
	detached   *detached // nil unless it is detached
}

// unlist takes the flight out of the list that it waits in, if any.
func (fl *flight) unlist() {
	if fl.place.Of() != nil {
		fl.place.Remove()
		fl.waiting = nil
	}
}

func (e *Engine) newFlight(d downstreamConn, rec *exchange.Conn) *flight {
	var fl *flight
	if n := len(e.free); n > 0 {
		fl = e.free[n-1]
		e.free[n-1] = nil
		e.free = e.free[:n-1]
	} else {
		fl = &flight{e: e}
		fl.req.fl, fl.resp.fl = fl, fl
		fl.timer.Fire = fl.expired
	}
	e.inFlight++
	fl.down, fl.length = d, -1
	fl.x.Conn, fl.x.Begun, fl.moved = rec, e.now, e.now
	fl.resp.to = d
	return fl
}

func (fl *flight) reset() {
	fl.x.Reset()
	fl.req.reset()
	fl.resp.reset()
	fl.trailers.Reset()
	*fl = flight{
		e: fl.e, x: fl.x, req: fl.req, resp: fl.resp, trailers: fl.trailers, serial: fl.serial + 1,
		timer: wheel.Timer{Fire: fl.timer.Fire},
	}
}

// awaits reports whether the flight that a dial is for still waits for it.
func (fl *flight) awaits(ticket int64, u *Upstream) bool {
	return fl.serial == ticket && fl.waiting == u && fl.place.Of() == nil && !fl.ended
}

// sendOn puts the flight on a connection, which sends its request.
func (fl *flight) sendOn(up upstreamConn) {
	fl.unlist()
	fl.up = up
	up.request(fl)
}

// abandon ends a flight that cannot be responded to any more.
func (fl *flight) abandon(f exchange.Fault) {
	if !fl.ended {
		fl.x.Fault = f
		fl.finish()
	}
}

// reply answers with x.Response and body.
func (fl *flight) reply(body []byte) {
	fl.leaveUpstream()
	r := &fl.x.Response
	r.Del("content-length")
	r.Del("transfer-encoding")
	if len(body) > 0 {
		r.Set("content-length", strconv.Itoa(len(body)))
		if string(fl.x.Request.Method()) == "HEAD" {
			body = nil
		}
	}
	fl.resp.ended = len(body) == 0
	fl.beginResponse()
	if len(body) > 0 && !fl.ended {
		fl.resp.write(body, true)
	}
}

func (fl *flight) beginResponse() {
	fl.responseBegun = true
	fl.x.Responded = fl.e.now
	if fl.wantsTunnel && !fl.opens() {
		fl.wantsTunnel = false
		fl.req.write(nil, true) // the server refused the tunnel: the request is over
	}
	if fl.ended {
		return
	}
	fl.isTunnel = fl.wantsTunnel
	fl.down.beginResponse(fl)
	if fl.isTunnel && !fl.ended {
		fl.req.to.push(&fl.req, nil) // what the client sent ahead
	}
}

// opens reports whether the response makes a tunnel of the exchange.
func (fl *flight) opens() bool {
	s := fl.x.Response.Status
	if len(fl.x.Request.Part(message.Protocol)) > 0 {
		return s == 101
	}
	return s >= 200 && s < 300 && fl.up != nil
}

// bodyEnded follows the end of a body on its writer. An exchange ends with its response, a tunnel with both directions.
func (fl *flight) bodyEnded(b *body) {
	switch {
	case fl.isTunnel && !(fl.req.sentEnd && fl.resp.sentEnd):
	case b == &fl.resp || fl.isTunnel:
		fl.finish()
	}
}

// finish ends the flight, exactly once.
func (fl *flight) finish() {
	if fl.ended {
		return
	}
	fl.ended = true
	fl.e.wheel.Cancel(&fl.timer)
	fl.leaveUpstream()
	fl.x.RequestBytes, fl.x.ResponseBytes = fl.req.moved, fl.resp.moved
	fl.x.Uploaded, fl.x.FirstByte, fl.x.Ended = fl.req.sentAt, fl.resp.firstAt, fl.e.now
	fl.down.leave(fl)
	if fl.copies != nil {
		fl.dropCopies()
	}
	switch {
	case fl.detached != nil:
		fl.endDetached()
	case fl.seen:
		fl.e.handler.End(&fl.x)
	default:
		fl.e.cfg.Report(fl.x.Conn, fl.x.Fault)
	}
	fl.e.inFlight--
	fl.e.largeHeads -= fl.headBytes
	fl.e.finished = append(fl.e.finished, fl)
}
