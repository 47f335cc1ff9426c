package forward

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// h1Client is the client's end of an HTTP/1 connection: one request at a time, then it is idle in its upstream.
type h1Client struct {
	conn        *conn
	u           *Upstream
	in          h1.BodyReader
	out         h1Writer
	state       h1State
	cur         *flight
	requests    int       // requests that it carried
	persistent  bool      // the connection survives the current response
	responded   bool      // the server answered something to the current request
	quarantined bool      // see h1.Reuse
	idleSince   time.Time // when it became idle
	// bound says that the connection may be authenticated as one client (NTLM, Negotiate), and serves no other. owner
	// is that client's connection, or nil where many clients share one.
	bound bool
	owner *h1Server
	// reading says that receive has bytes to look at, becameIdle that the connection became free meanwhile. It is idle
	// only if no bytes are left, so that a response that nobody asked for never answers the next request.
	reading, becameIdle bool
}

func newH1Client(conn *conn, u *Upstream) *h1Client {
	c := &h1Client{conn: conn, u: u}
	c.out.conn = conn
	c.in.Kind = h1.Response
	conn.timer.Fire = c.expired
	return c
}

func (c *h1Client) unsent() bool { return c.conn.sendBuffer.Size()+c.conn.sending.Size() > 0 }

// expired ends the quarantine, or an idle connection.
func (c *h1Client) expired() {
	if c.quarantined && !c.unsent() {
		c.quarantined = false
		c.u.putIdle(c)
		return
	}
	c.conn.close(nil)
}

func (c *h1Client) request(fl *flight) {
	c.cur, c.persistent, c.responded, c.state = fl, false, false, h1Head
	c.requests++
	c.conn.e.wheel.Cancel(&c.conn.timer)
	h := &fl.x.Request
	c.bound = c.bound || h1.BindsConnection(h)
	f := h1.FrameRequest(h, fl.length, fl.req.empty(), fl.wantsTunnel)
	c.conn.sendBuffer.Grew(h1.AppendRequest(c.conn.sendBuffer.Tail(h.Size()+128), h, f))
	c.conn.markDirty()
	c.out.begin(&fl.req, f.Coding)
	fl.req.to = c
	fl.resp.from = c
	c.out.push(&fl.req, nil)
}

// pin keeps a bound connection for the client that it is bound to. It closes one whose client is unknown.
func (c *h1Client) pin(fl *flight) {
	s, ok := fl.down.(*h1Server)
	if !ok || s.conn.closed() || s.pinned != nil && s.pinned != c {
		c.conn.close(nil)
		return
	}
	s.pinned, c.owner = c, s
}

// unpin separates a bound connection from its client.
func (c *h1Client) unpin() {
	if c.owner != nil && c.owner.pinned == c {
		c.owner.pinned = nil
	}
	c.owner = nil
}

func (c *h1Client) push(b *body, p []byte) { c.out.push(b, p) }

func (c *h1Client) hasRoom() { c.out.hasRoom() }

// consumed implements reader.
func (c *h1Client) consumed(b *body, _ int) {
	if b.q.Size() < bodyLimit/2 {
		c.conn.unpause()
	}
}

func (c *h1Client) receive(in []byte) (n int, err error) {
	c.reading = true
	n, err = c.read(in)
	c.reading = false
	if c.becameIdle && !c.conn.closed() {
		c.becameIdle = false
		c.u.putIdle(c)
	}
	if err == nil && (c.cur != nil || c.quarantined) {
		err = sock.ErrMore
	}
	return n, err
}

func (c *h1Client) read(in []byte) (n int, err error) {
	for n < len(in) && !c.conn.closed() {
		switch {
		case c.cur == nil:
			c.conn.close(errUnsolicited)
			return len(in), nil
		case c.cur.resp.ended: // the same, while the client has yet to take the rest of the response before
			c.persistent = false
			return len(in), nil
		}
		var used int
		switch c.state {
		case h1Head:
			used, err = c.head(in[n:])
		case h1Tunnel:
			used = len(in) - n
			c.cur.resp.write(in[n:], false)
		default:
			used, err = c.body(in[n:])
		}
		if err != nil {
			c.fail(c.badResponse(err))
			return len(in), nil
		}
		n += used
		if c.cur != nil && c.cur.resp.q.Size() >= bodyLimit {
			return n, c.conn.pause()
		}
		if used == 0 {
			break
		}
	}
	return n, nil
}

var errUnsolicited = errors.New("forward: response without a request")

// badResponse returns the fault of a response that cannot be read.
func (c *h1Client) badResponse(err error) exchange.Fault {
	f := exchange.Fault{Side: exchange.Upstream, Kind: exchange.BadResponse, Reason: h1.ReasonOf(err), Err: err}
	if errors.Is(err, h1.ErrHeadTooLarge) || errors.Is(err, h1.ErrTrailersTooLarge) {
		f.Kind, f.Err = exchange.ResponseTooLarge, c.conn.e.errTooLarge()
	}
	return f
}

func (c *h1Client) head(in []byte) (used int, err error) {
	fl := c.cur
	max := c.conn.e.cfg.MaxHeadBytes
	end, err := c.in.Scan.Scan(in, max)
	if err != nil || end == 0 {
		return 0, err
	}
	h := &fl.x.Response
	h.Reset()
	upgrade := fl.wantsTunnel && len(fl.x.Request.Part(message.Protocol)) > 0
	f, err := h1.ParseResponse(in[:end], h, fl.x.Request.Method(), upgrade)
	if err == nil && h.Size() > max {
		err = h1.ErrHeadTooLarge
	}
	if err != nil {
		return 0, err
	}
	if f.Coding == h1.Chunked {
		if err := c.in.Check(f, in[end:], &c.conn.e.scratch, max); err != nil {
			return 0, err
		}
	}
	c.responded, c.bound = true, c.bound || f.Bound
	c.u.reuse.Answered(c.requests)
	if h.Status < 200 && h.Status != 101 {
		fl.down.interim(fl, h)
		h.Reset()
		return end, nil
	}
	h.Del(h2.Upgraded)
	c.in.Begin(f)
	c.persistent = !f.Close
	c.state = h1Body
	switch f.Coding {
	case h1.Tunnel:
		c.state, c.persistent = h1Tunnel, false
	case h1.NoBody:
		fl.resp.ended = true
	}
	fl.respond()
	return end, nil
}

func (c *h1Client) body(in []byte) (used int, err error) {
	fl := c.cur
	data, used, last, err := c.in.Next(in, &fl.x.Trailers, c.conn.e.cfg.MaxHeadBytes)
	if err != nil {
		return used, err
	}
	if last && fl.x.Trailers.Len() > 0 {
		fl.resp.trailers = &fl.x.Trailers
	}
	if len(data) > 0 || last {
		fl.resp.write(data, last)
	}
	return used, nil
}

// fail closes the connection because of a fault of the current exchange.
func (c *h1Client) fail(f exchange.Fault) {
	fl := c.cur
	c.cur = nil
	c.conn.close(f.Err)
	if fl != nil {
		fl.up = nil
		if f.Kind == exchange.ResponseTooLarge {
			fl.overflow(f)
			return
		}
		fl.fault(f)
	}
}

func (c *h1Client) leave(fl *flight) {
	c.cur, c.out.b = nil, nil
	if !c.conn.closed() && c.conn.writeErr == nil && c.persistent && fl.resp.ended && fl.req.sentEnd && !fl.isTunnel {
		c.conn.unpause()
		if c.bound {
			c.pin(fl)
			return
		}
		switch c.u.reuse.AfterResponse(fl.x.Response.Status, fl.req.moved, c.unsent()) {
		case h1.NotReusable:
			c.conn.close(nil)
		case h1.ReusableAfterQuarantine:
			c.quarantined = true
			c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(h1.Quarantine))
		default:
			if c.becameIdle = c.reading; !c.becameIdle {
				c.u.putIdle(c)
			}
		}
		return
	}
	c.conn.reset = fl.isTunnel && !fl.req.sentEnd // a tunnel that was cut off must not look whole
	c.conn.close(nil)
}

func (c *h1Client) onFIN() {
	if fl := c.cur; fl != nil {
		switch {
		case c.state == h1Tunnel:
			fl.resp.write(nil, true)
			return
		case c.state == h1Body && c.in.Coding == h1.UntilClose:
			fl.resp.write(nil, true)
		}
		if c.cur != nil && fl.resp.ended {
			c.persistent = false // the client has yet to take the rest of the response
			return
		}
	}
	c.conn.close(io.EOF)
}

func (c *h1Client) onClosed(err error) {
	fl := c.cur
	c.u.removeIdle(c)
	c.unpin()
	if fl == nil {
		return
	}
	if !c.responded {
		c.u.reuse.Lost(c.requests)
	}
	c.cur, c.out.b, fl.up = nil, nil, nil
	if c.state != h1Tunnel && fl.resp.ended {
		return // the answer is complete; it only has to be passed on
	}
	f := exchange.Fault{Side: exchange.Upstream, Kind: exchange.Lost, Err: err, SafeToResend: c.untouched(fl, err)}
	if err == nil || errors.Is(err, io.EOF) {
		f.Err = io.ErrUnexpectedEOF
	}
	fl.fault(f)
}

// untouched reports whether a request that was sent may be sent again. The server said nothing to it, and the method is
// safe to repeat (RFC 9112 §9.3.1, RFC 9110 §9.2.2). Also, the connection had been idle, or was reset: a server that
// stops resets the connections that it has not accepted yet. A server that crashed on the request would have read it,
// and its connection ends without a reset.
func (c *h1Client) untouched(fl *flight, err error) bool {
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	return !c.responded && (c.requests >= 2 || reset) && idempotent(fl)
}

func (c *h1Client) drain() {
	if c.cur == nil {
		c.conn.close(nil)
	} else {
		c.persistent = false
	}
}
