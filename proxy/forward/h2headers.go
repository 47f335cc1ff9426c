package forward

import (
	"errors"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/hpack"
	"github.com/tulle-mesh/tulle/proxy/message"
)

const (
	// beyondHead is how much of a header list beyond Config.MaxHeadBytes is read and dropped, so that only its stream
	// fails. Its block must be decoded, or the tables are out of step. A longer list ends the connection.
	beyondHead = 1 << 20
	// proxyFields is how much longer a list between proxies may be: the fields that they add must not be too many.
	proxyFields = 4 << 10
	// maxFragments bounds the frames of one header block that are smaller than fragmentBytes. An endless row of
	// CONTINUATION is a flood (CVE-2024-27316 and others).
	maxFragments  = 32
	fragmentBytes = 4 << 10
)

// listLimits returns the bounds of the header lists that the peer sends.
func (c *h2Conn) listLimits() hpack.Limits {
	list := c.conn.e.cfg.MaxHeadBytes
	if c.mux {
		list += proxyFields
	}
	return hpack.Limits{List: list, Read: list + beyondHead}
}

func (c *h2Conn) onHeaders(f h2.FrameHeader, p []byte) *h2.Error {
	p, err := f.Unpad(p)
	if err != nil {
		return err
	}
	if f.Has(h2.FlagEndHeaders) {
		return c.onBlock(f, p)
	}
	if !c.client() && c.state == h2Open {
		c.conn.e.wheel.Set(&c.conn.timer, c.conn.e.now.Add(c.conn.e.cfg.HeadTimeout))
	}
	c.blockOf, c.fragments = f, 0
	c.block = append(c.block[:0], p...)
	return nil
}

func (c *h2Conn) onContinuation(f h2.FrameHeader, p []byte) *h2.Error {
	if c.blockOf.StreamID == 0 {
		return violation(h2.ProtocolError, "continuation")
	}
	if len(p) < fragmentBytes {
		c.fragments++
	}
	c.conn.e.partialHeads += len(p)
	c.blockCharge += len(p)
	if c.fragments > maxFragments || len(c.block)+len(p) > c.listLimits().Read ||
		c.conn.e.partialHeads > c.conn.e.cfg.MaxHeadsBytes {
		return violation(h2.EnhanceYourCalm, "continuation_flood")
	}
	c.block = append(c.block, p...)
	if !f.Has(h2.FlagEndHeaders) {
		return nil
	}
	if !c.client() && c.state == h2Open {
		c.conn.e.wheel.Cancel(&c.conn.timer)
	}
	head := c.blockOf
	block := c.block
	c.dropBlock()
	return c.onBlock(head, block)
}

// dropBlock drops the header block that came in pieces.
func (c *h2Conn) dropBlock() {
	c.conn.e.partialHeads -= c.blockCharge
	c.blockOf, c.block, c.blockCharge = h2.FrameHeader{}, nil, 0
}

// onBlock takes a complete header block. It always decodes the block, whatever becomes of the stream: the tables must
// stay in step.
func (c *h2Conn) onBlock(f h2.FrameHeader, block []byte) *h2.Error {
	s := c.streams[f.StreamID]
	switch {
	case s != nil && c.client():
		return c.onResponse(s, f, block)
	case s != nil:
		return c.onTrailers(s, f, block, &s.fl.trailers)
	case c.client() && !c.idle(f.StreamID), c.recentResets.Has(f.StreamID):
		_, err := c.decode(block, &c.conn.e.scratch, h2.Trailers)
		return err
	case c.client() || f.StreamID&1 == 0:
		return violation(h2.ProtocolError, "stream_id")
	case f.StreamID <= c.lastID:
		return violation(h2.StreamClosed, "headers_on_closed_stream")
	}
	return c.onRequest(f, block)
}

// decode reads a header list into h. reason says what is wrong with it. With tooLarge, h has what an answer needs.
func (c *h2Conn) decode(block []byte, h *message.Head, k h2.Kind) (reason string, err *h2.Error) {
	h.Reset()
	c.reader.Begin(h, k)
	derr := c.dec.Decode(block, h, c.listLimits(), &c.reader)
	switch {
	case errors.Is(derr, hpack.ErrTooLarge):
		return tooLarge, nil
	case errors.Is(derr, hpack.ErrBomb):
		return "", violation(h2.EnhanceYourCalm, "header_list_flood")
	case derr != nil:
		return "", violation(h2.CompressionError, "header_block")
	}
	return c.reader.End(), nil
}

// Reasons of HeadTooLarge and ResponseTooLarge.
const (
	tooLarge         = "head_too_large"
	trailersTooLarge = h1.TrailersTooLarge
)

// headTooLarge fails the stream of a head or of trailers that are too large, and no other stream (RFC 9113 §10.5.1).
// Too large trailers make us reset the stream to the server, so a client may send few of them.
func (c *h2Conn) headTooLarge(s *stream, reason string) *h2.Error {
	fl := s.fl
	if c.client() {
		fl.x.Trailers.Reset() // a status in it was not passed on
		fl.overflow(exchange.Fault{
			Side: exchange.Upstream, Kind: exchange.ResponseTooLarge, Reason: reason, Err: fl.e.errTooLarge(),
		})
		return nil
	}
	if reason == trailersTooLarge && !c.abuse.Spend(fl.e.now) {
		return violation(h2.EnhanceYourCalm, "malformed_flood")
	}
	fl.code = h2.EnhanceYourCalm // RESOURCE_EXHAUSTED to gRPC, where the response has begun
	fl.overflow(exchange.Fault{
		Side: exchange.Downstream, Kind: exchange.HeadTooLarge, Reason: reason, Err: fl.e.errTooLarge(),
	})
	return nil
}

func (c *h2Conn) onRequest(f h2.FrameHeader, block []byte) *h2.Error {
	e := c.conn.e
	c.lastID = f.StreamID
	if beyond := len(c.streams) >= c.limit() || c.state == h2GoneAway || e.stopped; beyond || c.throttles() {
		if _, err := c.decode(block, &e.scratch, h2.Request); err != nil {
			return err
		}
		if beyond && !c.abuse.Spend(e.now) {
			return violation(h2.EnhanceYourCalm, "stream_flood")
		}
		c.reset(f.StreamID, h2.RefusedStream)
		return nil
	}
	fl := e.newFlight(c, c.conn.rec)
	s := c.open(fl, f.StreamID)
	reason, err := c.decode(block, &fl.x.Request, h2.Request)
	if err != nil {
		fl.abandon(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Malformed, Reason: err.Reason})
		return err
	}
	s.headed, s.remoteEnd = true, f.Has(h2.FlagEndStream)
	s.expect, fl.length = c.reader.Length, c.reader.Length
	fl.req.ended = s.remoteEnd
	if reason == "" && s.remoteEnd && s.expect > 0 {
		reason = "content_length"
	}
	if reason == "" && !c.restoreRequest(fl) {
		reason = "protocol"
	}
	switch reason {
	case "":
		fl.start()
	case tooLarge:
		return c.headTooLarge(s, reason)
	default:
		c.malformed(s, reason)
	}
	return nil
}

// onTrailers takes the last header list of a message.
func (c *h2Conn) onTrailers(s *stream, f h2.FrameHeader, block []byte, h *message.Head) *h2.Error {
	if s.remoteEnd {
		return violation(h2.StreamClosed, "headers_after_end")
	}
	reason, err := c.decode(block, h, h2.Trailers)
	switch {
	case err != nil:
		return err
	case reason == tooLarge:
		s.remoteEnd = f.Has(h2.FlagEndStream)
		return c.headTooLarge(s, trailersTooLarge)
	case reason != "":
		c.malformed(s, reason)
		return nil
	case !f.Has(h2.FlagEndStream):
		c.malformed(s, "trailers_without_end")
		return nil
	}
	if reason := s.checkLength(0, true); reason != "" {
		c.malformed(s, reason)
		return nil
	}
	s.remoteEnd = true
	if !s.fl.chargeHeads() {
		s.fl.overflow(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "heads"})
		return nil
	}
	if h.Len() > 0 {
		s.in.trailers = h
	}
	s.in.write(nil, true)
	return nil
}

func (c *h2Conn) onResponse(s *stream, f h2.FrameHeader, block []byte) *h2.Error {
	fl := s.fl
	if s.headed {
		return c.onTrailers(s, f, block, &fl.x.Trailers)
	}
	if s.remoteEnd {
		return violation(h2.StreamClosed, "headers_after_end")
	}
	h := &fl.x.Response
	reason, err := c.decode(block, h, h2.Response)
	if err != nil {
		return err
	}
	end := f.Has(h2.FlagEndStream)
	if reason == tooLarge {
		s.remoteEnd = end
		return c.headTooLarge(s, reason)
	}
	interim := h.Status < 200
	if reason == "" && interim && end {
		reason = "interim_with_end"
	}
	if reason != "" {
		c.malformed(s, reason)
		return nil
	}
	if interim {
		h.Del("content-length") // RFC 9110 §8.6: there is none in 1xx
		fl.down.interim(fl, h)
		h.Reset()
		return nil
	}
	s.headed, s.remoteEnd = true, end
	c.onAccepted(s)
	s.expect = c.reader.BodyLength(fl.x.Request.Method())
	if end && s.expect > 0 {
		c.malformed(s, "content_length")
		return nil
	}
	fl.resp.ended = end
	h2.RestoreResponse(&fl.x.Response, c.mux && fl.wantsTunnel && len(fl.x.Request.Part(message.Protocol)) > 0)
	fl.respond()
	return nil
}

func (c *h2Conn) requestBlock(dst []byte, fl *flight) []byte {
	h := &fl.x.Request
	if !c.mux || h.Version == message.HTTP2 {
		return h2.AppendBlock(dst, c.enc, h, h2.Request)
	}
	return h2.AppendHTTP1Request(dst, c.enc, h)
}

func (c *h2Conn) responseBlock(dst []byte, fl *flight) []byte {
	h := &fl.x.Response
	if h.Status == 101 {
		return h2.AppendSwitching(dst, c.enc, h)
	}
	return h2.AppendBlock(dst, c.enc, h, h2.Response)
}

// restoreRequest undoes requestBlock. It reports whether the request is well-formed for this connection.
func (c *h2Conn) restoreRequest(fl *flight) (ok bool) {
	if !c.mux {
		return h2.RestoreRequest(&fl.x.Request, c.conn.e.cfg.RestoreHTTP1)
	}
	fl.wantsTunnel, ok = h2.RestoreMuxRequest(&fl.x.Request)
	return ok
}
