package forward

import (
	"github.com/tulle-mesh/tulle/proxy/flood"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// quantum is how much one stream sends before the next one does.
const quantum = 16 << 10

// push implements writer. What fits goes out at once. The rest waits in the body's queue, and the stream in the ring,
// unless only its own window stops it.
func (c *h2Conn) push(b *body, p []byte) {
	s := c.streamOf(b.fl)
	if s.out != b || s.localEnd || c.streams[s.id] != s {
		return
	}
	if b.q.Size() == 0 {
		if n := c.allowed(s, len(p)); n > 0 || len(p) == 0 && b.ended {
			last := b.ended && n == len(p)
			c.frames(s, p[:n], last)
			p = p[n:]
			b.advance(n)
			if last {
				b.end()
				return
			}
		}
	}
	switch {
	case len(p) > 0:
		b.enqueue(p)
		c.enqueue(s)
	case b.q.Size() > 0: // it came before there was a connection to send it on
		c.enqueue(s)
		c.hasRoom()
	}
}

// allowed is how many of n bytes the stream may send now.
func (c *h2Conn) allowed(s *stream, n int) int {
	if c.withholdsBody(s) {
		return 0
	}
	return max(0, min(n, int(s.send), int(c.send), c.conn.room()))
}

// frames writes p, which is allowed, and the end of the stream if last.
func (c *h2Conn) frames(s *stream, p []byte, last bool) {
	trailers := s.out.trailers
	s.send.Take(len(p))
	c.send.Take(len(p))
	c.moved += int64(len(p))
	if len(p) == 0 && last && trailers == nil {
		c.frame(s, nil, true)
	}
	for len(p) > 0 {
		part := p[:min(len(p), h2.MaxFrame)]
		p = p[len(part):]
		c.frame(s, part, last && len(p) == 0 && trailers == nil)
	}
	if last && trailers != nil {
		e := c.conn.e
		e.block = h2.AppendBlock(e.block[:0], c.enc, trailers, h2.Trailers)
		c.write(h2.AppendHeaders(c.conn.sendBuffer.Tail(len(e.block)+64), s.id, e.block, true))
	}
	s.localEnd = last
}

func (c *h2Conn) frame(s *stream, p []byte, end bool) {
	h := h2.FrameHeader{Length: uint32(len(p)), Type: h2.Data, StreamID: s.id}
	if end {
		h.Flags = h2.FlagEndStream
	}
	c.conn.sendBuffer.Grew(h2.AppendHeader(c.conn.sendBuffer.Tail(h2.HeaderLen), h))
	c.conn.sendBuffer.Append(p)
	c.conn.markDirty()
	if min(s.send, c.send) >= flood.Roomy {
		c.allowControl()
	}
}

// enqueue puts the stream behind the others that send, if it may send.
func (c *h2Conn) enqueue(s *stream) {
	if s.sending.Of() == nil && s.send > 0 && s.out.q.Size() > 0 && !c.withholdsBody(s) {
		c.senders.Push(&s.sending, s)
	}
}

// hasRoom lets the streams send, a quantum each.
func (c *h2Conn) hasRoom() {
	for c.senders.Len() > 0 && c.send > 0 && c.conn.room() > 0 && !c.conn.closed() {
		s := c.senders.First()
		s.sending.Remove()
		c.sendQueued(s, c.allowed(s, quantum))
		if c.streams[s.id] == s && !s.localEnd {
			c.enqueue(s)
		}
	}
}

// sendQueued sends up to n bytes of what waits in the body's queue.
func (c *h2Conn) sendQueued(s *stream, n int) {
	for b := s.out; n > 0 && b.q.Size() > 0; {
		p := b.q.Peek(n)
		size, last := len(p), b.ended && b.q.Size() == len(p)
		n -= size
		c.frames(s, p, last)
		b.dequeue(size)
		b.advance(size)
		if last {
			b.end()
		}
	}
}
