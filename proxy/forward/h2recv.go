package forward

import (
	"bytes"
	"encoding/binary"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/flood"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// Violations that no correct peer commits end the connection, also where RFC 9113 calls for a stream error and allows
// more (§5.4). So an attacker gains nothing by making a server reset streams (CVE-2025-8671).

func violation(code h2.Code, reason string) *h2.Error { return &h2.Error{Code: code, Reason: reason} }

func (c *h2Conn) receive(in []byte) (n int, err error) {
	if c.state == h2Failed {
		return len(in), nil
	}
	c.liveness = h2Heard
	if c.handshake == h2AwaitsPreface {
		if n = c.preface(in); n == 0 {
			return 0, nil
		}
	}
	for len(in)-n >= h2.HeaderLen && !c.conn.closed() && c.state != h2Failed {
		f := h2.ParseHeader(in[n:])
		if f.Length > h2.MaxFrame {
			c.fail(violation(h2.FrameSizeError, "frame_size"))
			break
		}
		end := n + h2.HeaderLen + int(f.Length)
		if end > len(in) {
			break
		}
		if err := c.dispatch(f, in[n+h2.HeaderLen:end]); err != nil {
			c.fail(err)
		}
		n = end
	}
	if c.state == h2Failed {
		return len(in), nil
	}
	// Without a stream nothing will be written that would run into a reset which came with these bytes. An idle client
	// connection ends by its timer, so it saves the system call after each response.
	if len(c.streams) == 0 && !c.client() {
		return n, sock.ErrMore
	}
	return n, nil
}

// preface reads the client's preface, RFC 9113 §3.4.
func (c *h2Conn) preface(in []byte) (n int) {
	e := c.conn.e
	if !c.conn.timer.IsSet() {
		e.wheel.Set(&c.conn.timer, e.now.Add(e.cfg.HeadTimeout)) // until the settings are there
	}
	switch {
	case bytes.HasPrefix(in, []byte(h2.Preface)):
		c.handshake = h2AwaitsSettings
		return len(h2.Preface)
	case bytes.HasPrefix([]byte(h2.Preface), in):
		return 0
	}
	c.fail(violation(h2.ProtocolError, "preface"))
	return 0
}

func (c *h2Conn) dispatch(f h2.FrameHeader, p []byte) *h2.Error {
	if c.handshake != h2Ready && (f.Type != h2.Settings || f.Has(h2.FlagAck)) {
		return violation(h2.ProtocolError, "first_frame")
	}
	if c.blockOf.StreamID != 0 && (f.Type != h2.Continuation || f.StreamID != c.blockOf.StreamID) {
		return violation(h2.ProtocolError, "continuation")
	}
	if err := f.Check(p); err != nil {
		return err
	}
	switch f.Type {
	case h2.Data:
		return c.onData(f, p)
	case h2.Headers:
		return c.onHeaders(f, p)
	case h2.Continuation:
		return c.onContinuation(f, p)
	case h2.WindowUpdate:
		return c.onWindowUpdate(f, p)
	case h2.RSTStream:
		return c.onReset(f, p)
	}
	if !c.control.Spend(c.conn.e.now) {
		return violation(h2.EnhanceYourCalm, "control_flood")
	}
	switch f.Type {
	case h2.Settings:
		return c.onSettings(f, p)
	case h2.Ping:
		c.onPing(f, p)
	case h2.GoAway:
		c.onGoAway(p)
	}
	return nil // PRIORITY says nothing to us, and unknown frames are ignored (RFC 9113 §5.5)
}

// idle reports whether a stream is not open yet, RFC 9113 §5.1.
func (c *h2Conn) idle(id uint32) bool {
	if own := id&1 == 1 == c.client(); own {
		return id >= c.nextID
	}
	return c.client() || id > c.lastID // we accept no pushed streams
}

func (c *h2Conn) onData(f h2.FrameHeader, p []byte) *h2.Error {
	if f.StreamID == 0 || c.idle(f.StreamID) {
		return violation(h2.ProtocolError, "data_on_idle_stream")
	}
	size := len(p)
	if !c.recv.Receive(size) {
		return violation(h2.FlowControlError, "connection_window")
	}
	c.grantConn(size)
	data, err := f.Unpad(p)
	if err != nil {
		return err
	}
	s := c.streams[f.StreamID]
	if s == nil {
		switch {
		case !c.client() && !c.recentResets.Has(f.StreamID):
			return violation(h2.StreamClosed, "data_on_closed_stream")
		case len(data) == 0 && !f.Has(h2.FlagEndStream) && !c.control.Spend(c.conn.e.now):
			return violation(h2.EnhanceYourCalm, "empty_data_flood")
		}
		return nil
	}
	if s.remoteEnd {
		return violation(h2.StreamClosed, "data_after_end")
	}
	if !s.recv.Receive(size) {
		return violation(h2.FlowControlError, "stream_window")
	}
	end := f.Has(h2.FlagEndStream)
	switch {
	case len(data) > 0 || end:
		c.control.Refund(1)
	case !c.control.Spend(c.conn.e.now):
		return violation(h2.EnhanceYourCalm, "empty_data_flood")
	}
	if reason := s.checkLength(len(data), end); reason != "" {
		c.malformed(s, reason)
		return nil
	}
	s.remoteEnd = end
	s.recv.Consume(size - len(data))
	s.in.write(data, end)
	return nil
}

// checkLength checks a body against the length that its head announced, RFC 9113 §8.1.1.
func (s *stream) checkLength(n int, end bool) (reason string) {
	if !s.headed {
		return "data_before_head"
	}
	if s.expect < 0 {
		return ""
	}
	s.expect -= int64(n)
	if s.expect < 0 || end && s.expect > 0 {
		return "content_length"
	}
	return ""
}

// malformed ends the exchange of a stream whose message breaks the rules, RFC 9113 §8.1.1.
func (c *h2Conn) malformed(s *stream, reason string) { c.streamError(s, h2.ProtocolError, reason) }

// streamError ends the exchange of a stream with a stream error.
func (c *h2Conn) streamError(s *stream, code h2.Code, reason string) {
	fl := s.fl
	if c.client() {
		fl.fault(exchange.Fault{Side: exchange.Upstream, Kind: exchange.BadResponse, Reason: reason})
		return
	}
	if !c.abuse.Spend(c.conn.e.now) {
		c.fail(violation(h2.EnhanceYourCalm, "malformed_flood"))
		return
	}
	fl.code = code
	fl.abandon(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Malformed, Reason: reason})
}

func (c *h2Conn) onReset(f h2.FrameHeader, p []byte) *h2.Error {
	if c.idle(f.StreamID) {
		return violation(h2.ProtocolError, "rst_on_idle_stream")
	}
	s := c.streams[f.StreamID]
	switch {
	case s == nil && c.kind != flood.UnmeshedClient:
		// it costs nobody any work: both ends gave up, because a deadline passed
		if !c.control.Spend(c.conn.e.now) {
			return violation(h2.EnhanceYourCalm, "control_flood")
		}
	case c.client() || c.resets.Take(c.conn.e.now, c.resetCost(s)):
	case c.kind == flood.MeshedClient:
		c.throttled = true
	default:
		return violation(h2.EnhanceYourCalm, flood.RapidReset) // CVE-2023-44487
	}
	if s == nil {
		return nil
	}
	delete(c.streams, f.StreamID)
	s.sending.Remove()
	c.onStreamReset(s, h2.Code(binary.BigEndian.Uint32(p)))
	c.streamClosed()
	return nil
}

// onStreamReset ends the flight of a stream that the peer reset.
func (c *h2Conn) onStreamReset(s *stream, code h2.Code) {
	fl := s.fl
	if !c.client() {
		fl.abandon(exchange.Fault{Side: exchange.Downstream, Kind: exchange.Disconnected, Reason: "reset"})
		return
	}
	if fl.up = nil; s.complete() { // RFC 9113 §8.1: the rest of the request is not wanted
		return
	}
	fl.code = code
	switch {
	case code == h2.RefusedStream && s.early && fl.requeue(c.u):
	case code == h2.RefusedStream:
		fl.fault(refused("refused_stream"))
	default:
		fl.fault(exchange.Fault{Side: exchange.Upstream, Kind: exchange.Reset, Reason: code.String()})
	}
}

func (c *h2Conn) onSettings(f h2.FrameHeader, p []byte) *h2.Error {
	if f.Has(h2.FlagAck) {
		return nil
	}
	old := c.peer
	if err := c.peer.Apply(p, c.client()); err != nil {
		return err
	}
	first := c.handshake != h2Ready
	if first {
		c.handshake = h2Ready
		if !c.mux && c.client() && len(c.streams) > 0 || !c.client() && c.state == h2Open {
			c.conn.e.wheel.Cancel(&c.conn.timer)
		}
	}
	if c.client() && (first || c.peer.MaxStreams != old.MaxStreams) {
		c.onStreamLimit(first || c.peer.MaxStreams < old.MaxStreams)
	}
	c.enc.SetMax(c.peer.HeaderTableSize)
	c.write(h2.AppendSettingsAck(c.conn.sendBuffer.Tail(16)))
	if delta := int64(c.peer.InitialWindow) - int64(old.InitialWindow); delta != 0 {
		for _, s := range c.streams {
			if !s.send.Grow(delta) {
				return violation(h2.FlowControlError, "window_overflow")
			}
			c.enqueue(s)
		}
		c.hasRoom()
	}
	if c.client() && c.u.waiting.Len() > 0 {
		c.u.serveWaiting()
	}
	return nil
}

func (c *h2Conn) onPing(f h2.FrameHeader, p []byte) {
	if !f.Has(h2.FlagAck) {
		c.write(h2.AppendPing(c.conn.sendBuffer.Tail(32), h2.FlagAck, p))
	}
}

// onGoAway sends again the requests that the server will not process.
func (c *h2Conn) onGoAway(p []byte) {
	if !c.client() {
		return
	}
	last := binary.BigEndian.Uint32(p) & h2.MaxStreamID
	c.state = max(c.state, h2Draining)
	c.u.removeShared(c)
	for id, s := range c.streams {
		if id > last && !s.complete() {
			delete(c.streams, id)
			s.sending.Remove()
			s.fl.up = nil
			if !s.fl.requeue(c.u) {
				s.fl.fault(refused("goaway"))
			}
		}
	}
	c.streamClosed()
}
