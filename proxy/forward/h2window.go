package forward

import (
	"encoding/binary"

	"github.com/tulle-mesh/tulle/proxy/h2"
)

// grantConn gives the connection's window back: at once while the engine has room for more, otherwise when it has
// again.
func (c *h2Conn) grantConn(n int) {
	e := c.conn.e
	if !c.recv.Consume(n) {
		return
	}
	if e.queued >= e.cfg.MaxQueuedBytes {
		if !c.withheld {
			c.withheld = true
			e.withheld = append(e.withheld, c)
			e.watchStalled()
		}
		return
	}
	if e.queued < e.cfg.MaxQueuedBytes/2 {
		c.recv.Double(maxConnWindow)
	}
	c.write(h2.AppendWindowUpdate(c.conn.sendBuffer.Tail(16), 0, c.recv.Grant()))
}

func (e *Engine) grantWithheld() {
	if len(e.withheld) == 0 || e.queued >= e.cfg.MaxQueuedBytes {
		return
	}
	for i, c := range e.withheld {
		e.withheld[i], c.withheld = nil, false
		if !c.conn.closed() && c.state != h2Failed {
			c.grantConn(0)
		}
	}
	e.withheld = e.withheld[:0]
}

// consumed implements reader: the peer may send as much more. The window of a stream whose receiver keeps up doubles
// each time that the stream has used up four windows.
func (c *h2Conn) consumed(b *body, n int) {
	s := c.streamOf(b.fl)
	if s.in != b || s.remoteEnd || c.streams[s.id] != s || c.state == h2Failed {
		return
	}
	if !s.recv.Consume(n) {
		return
	}
	e := c.conn.e
	if keepsUp := b.q.Size() == 0 && b.total > 4*int64(s.recv.Size()); keepsUp && e.queued < e.cfg.MaxQueuedBytes/2 {
		s.recv.Double(maxStreamWindow)
	}
	c.write(h2.AppendWindowUpdate(c.conn.sendBuffer.Tail(16), s.id, s.recv.Grant()))
}

func (c *h2Conn) onWindowUpdate(f h2.FrameHeader, p []byte) *h2.Error {
	n := binary.BigEndian.Uint32(p) & h2.MaxWindow
	if n < 256 && !c.control.Spend(c.conn.e.now) {
		return violation(h2.EnhanceYourCalm, "window_flood") // CVE-2019-9511: bodies in crumbs
	}
	if f.StreamID == 0 {
		if !c.send.Grow(int64(n)) {
			return violation(h2.FlowControlError, "window_overflow")
		}
		c.hasRoom()
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		if c.idle(f.StreamID) {
			return violation(h2.ProtocolError, "window_update_on_idle_stream")
		}
		return nil
	}
	if !s.send.Grow(int64(n)) {
		c.streamError(s, h2.FlowControlError, "window_overflow") // RFC 9113 §6.9.1 is strict about the kind of error
		return nil
	}
	c.enqueue(s)
	c.hasRoom()
	return nil
}
