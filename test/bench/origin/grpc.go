package main

import (
	"github.com/tulle-mesh/tulle/test/bench/poll"
	"github.com/tulle-mesh/tulle/test/bench/wire"
)

// grpcConn echoes every stream: response head at the request's head, bytes as they come, trailers at the end. Unary and
// streaming calls look the same to it.
type grpcConn struct {
	server  *server
	fd      int
	in      []byte // bytes of an incomplete frame
	greeted bool
	out     poll.SendBuffer
	writing bool
	windows wire.Windows
	credit  wire.Credit
	streams map[uint32]*echo
	free    []*echo
}

type echo struct {
	id      uint32
	window  int
	credit  wire.Credit
	pending []byte // echoed bytes that no window covers yet
	ended   bool   // the request is complete
}

func (s *server) openGRPC(fd int) poll.Handler {
	c := &grpcConn{server: s, fd: fd, windows: wire.NewWindows(), credit: wire.NewCredit(wire.ConnWindow),
		streams: map[uint32]*echo{}}
	c.out.SetBuffer(wire.AppendStart(nil))
	return c
}

func (c *grpcConn) Readable() error {
	n, err := poll.Read(c.fd, c.server.in)
	if err != nil || n == 0 {
		return err
	}
	data := c.server.in[:n]
	if len(c.in) > 0 {
		data = append(c.in, data...)
	}
	if !c.greeted {
		if len(data) < len(wire.Preface) {
			c.in = append(c.in[:0], data...)
			return nil
		}
		c.greeted, data = true, data[len(wire.Preface):]
	}
	for {
		f, rest, ok := wire.Next(data)
		if !ok {
			break
		}
		c.frame(f)
		data = rest
	}
	c.in = append(c.in[:0], data...)
	return c.flush()
}

func (c *grpcConn) frame(f wire.Frame) {
	switch f.Type {
	case wire.Headers:
		c.begin(f)
	case wire.Data:
		c.data(f)
	case wire.RSTStream:
		c.drop(c.streams[f.Stream])
	case wire.Settings:
		if f.Flags&wire.Ack == 0 {
			c.settings(f.Payload)
		}
	case wire.Ping:
		if f.Flags&wire.Ack == 0 {
			c.send(wire.Ping, wire.Ack, 0, f.Payload)
		}
	case wire.WindowUpdate:
		c.grant(f)
	}
}

var (
	responseBlock = wire.Response()
	trailersBlock = wire.Trailers()
)

func (c *grpcConn) begin(f wire.Frame) {
	var s *echo
	if n := len(c.free); n > 0 {
		s, c.free = c.free[n-1], c.free[:n-1]
	} else {
		s = &echo{}
	}
	*s = echo{id: f.Stream, window: c.windows.Initial, credit: wire.NewCredit(wire.StreamWindow), pending: s.pending[:0]}
	c.streams[f.Stream] = s
	c.send(wire.Headers, wire.EndHeaders, s.id, responseBlock)
	if f.Flags&wire.EndStream != 0 {
		s.ended = true
		c.pump(s)
	}
}

func (c *grpcConn) data(f wire.Frame) {
	if n := c.credit.Take(len(f.Payload)); n > 0 {
		c.out.SetBuffer(wire.AppendWindow(c.out.Buffer(), 0, n))
	}
	s := c.streams[f.Stream]
	if s == nil {
		return
	}
	s.pending = append(s.pending, f.Body()...)
	s.ended = f.Flags&wire.EndStream != 0
	if n := s.credit.Take(len(f.Payload)); n > 0 && !s.ended {
		c.out.SetBuffer(wire.AppendWindow(c.out.Buffer(), s.id, n))
	}
	c.pump(s)
}

// pump sends what the windows allow, and the trailers after the last byte.
func (c *grpcConn) pump(s *echo) {
	sent := 0
	for {
		n := min(len(s.pending)-sent, s.window, c.windows.Conn, wire.MaxFrame)
		if n <= 0 {
			break
		}
		c.send(wire.Data, 0, s.id, s.pending[sent:sent+n])
		sent += n
		s.window -= n
		c.windows.Conn -= n
	}
	s.pending = append(s.pending[:0], s.pending[sent:]...)
	if s.ended && len(s.pending) == 0 {
		c.send(wire.Headers, wire.EndHeaders|wire.EndStream, s.id, trailersBlock)
		c.drop(s)
	}
}

func (c *grpcConn) drop(s *echo) {
	if s == nil {
		return
	}
	delete(c.streams, s.id)
	c.free = append(c.free, s)
}

func (c *grpcConn) settings(payload []byte) {
	change := c.windows.Setting(payload)
	c.send(wire.Settings, wire.Ack, 0, nil)
	for _, s := range c.streams {
		s.window += change
		c.pump(s)
	}
}

func (c *grpcConn) grant(f wire.Frame) {
	n := wire.Increment(f.Payload)
	if f.Stream != 0 {
		if s := c.streams[f.Stream]; s != nil {
			s.window += n
			c.pump(s)
		}
		return
	}
	starved := c.windows.Conn <= 0
	c.windows.Conn += n
	if starved {
		for _, s := range c.streams {
			c.pump(s)
		}
	}
}

func (c *grpcConn) send(kind, flags byte, stream uint32, payload []byte) {
	c.out.SetBuffer(wire.Append(c.out.Buffer(), kind, flags, stream, payload))
}

func (c *grpcConn) flush() error {
	blocked, err := c.out.Flush(c.fd)
	if err != nil || blocked == c.writing {
		return err
	}
	c.writing = blocked
	return c.server.loop.Interest(c.fd, true, blocked)
}

func (c *grpcConn) Writable() error { return c.flush() }
func (c *grpcConn) Closed()         {}
