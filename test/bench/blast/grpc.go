package main

import (
	"fmt"
	"net/netip"

	"github.com/tulle-mesh/tulle/test/bench/poll"
	"github.com/tulle-mesh/tulle/test/bench/wire"
)

// grpcConn is one HTTP/2 connection of the generator.
type grpcConn struct {
	loop     *poll.Loop
	fd       int
	owner    owner
	out      poll.SendBuffer
	writing  bool
	in       []byte
	next     uint32
	windows  wire.Windows
	credit   wire.Credit
	streams  map[uint32]*call
	request  []byte
	message  []byte
	reading  bool          // inside Readable: flush once at its end
	received func(n int)   // stream mode: bytes of messages that came back
	held     []*call       // stream mode: calls whose message no window covers
	opened   map[*call]int // stream mode: send window of each stream
}

// call is one slot: a request at a time, each on a stream of its own.
type call struct {
	conn   *grpcConn
	id     uint32
	credit wire.Credit
	got    int // bytes of the answer
}

func dialGRPC(loop *poll.Loop, c config, o owner) ([]slot, error) {
	g, err := openGRPC(loop, c, o)
	if err != nil {
		return nil, err
	}
	var slots []slot
	for range c.streams {
		slots = append(slots, &call{conn: g})
	}
	return slots, nil
}

func openGRPC(loop *poll.Loop, c config, o owner) (*grpcConn, error) {
	fd, err := poll.Dial(c.addr, netip.Addr{})
	if err != nil {
		return nil, err
	}
	g := &grpcConn{loop: loop, fd: fd, owner: o, next: 1, windows: wire.NewWindows(),
		credit:  wire.NewCredit(wire.ConnWindow),
		streams: map[uint32]*call{}, request: wire.Request(c.host, "/bench.Echo/Call"), message: message(c.size),
		opened: map[*call]int{}}
	g.out.Append([]byte(wire.Preface)...)
	g.out.SetBuffer(wire.AppendStart(g.out.Buffer()))
	if err := loop.Add(fd, g); err != nil {
		return nil, err
	}
	g.writing = true
	return g, loop.Interest(fd, true, true)
}

// message is one length-prefixed gRPC message of so many bytes in all.
func message(size int) []byte {
	m := make([]byte, max(size, 5))
	n := len(m) - 5
	m[1], m[2], m[3], m[4] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return m
}

// send starts a unary call. Its message is small against any window, so only the connection's is counted.
func (s *call) send() error {
	g := s.conn
	s.begin()
	g.windows.Conn -= len(g.message)
	g.out.SetBuffer(wire.Append(g.out.Buffer(), wire.Data, wire.EndStream, s.id, g.message))
	if g.writing || g.reading {
		return nil
	}
	return g.Writable()
}

func (s *call) begin() {
	g := s.conn
	s.id = g.next
	s.credit, s.got = wire.NewCredit(wire.StreamWindow), 0
	g.next += 2
	g.streams[s.id] = s
	g.out.SetBuffer(wire.Append(g.out.Buffer(), wire.Headers, wire.EndHeaders, s.id, g.request))
}

func (g *grpcConn) Readable() error {
	n, err := poll.Read(g.fd, readBuffer)
	if err != nil {
		g.owner.failed(err)
		return err
	}
	data := readBuffer[:n]
	if len(g.in) > 0 {
		data = append(g.in, data...)
	}
	g.reading = true
	for {
		f, rest, ok := wire.Next(data)
		if !ok {
			break
		}
		if err := g.frame(f); err != nil {
			g.owner.failed(err)
			return err
		}
		data = rest
	}
	g.in = append(g.in[:0], data...)
	g.reading = false
	if g.writing {
		return nil
	}
	return g.Writable()
}

func (g *grpcConn) frame(f wire.Frame) error {
	switch f.Type {
	case wire.Headers, wire.Data:
		return g.response(f)
	case wire.RSTStream, wire.GoAway:
		return fmt.Errorf("stream %d: frame type %d: %x", f.Stream, f.Type, f.Payload)
	case wire.Settings:
		if f.Flags&wire.Ack == 0 {
			change := g.windows.Setting(f.Payload)
			for s := range g.opened {
				g.opened[s] += change
			}
			g.out.SetBuffer(wire.Append(g.out.Buffer(), wire.Settings, wire.Ack, 0, nil))
			g.release()
		}
	case wire.Ping:
		if f.Flags&wire.Ack == 0 {
			g.out.SetBuffer(wire.Append(g.out.Buffer(), wire.Ping, wire.Ack, 0, f.Payload))
		}
	case wire.WindowUpdate:
		if s := g.streams[f.Stream]; s != nil {
			g.opened[s] += wire.Increment(f.Payload)
		} else if f.Stream == 0 {
			g.windows.Conn += wire.Increment(f.Payload)
		}
		g.release()
	}
	return nil
}

// response counts what came back: an answer that is not the whole echo is an error answer.
func (g *grpcConn) response(f wire.Frame) error {
	s := g.streams[f.Stream]
	if f.Type == wire.Data {
		g.consume(s, f)
	}
	if s == nil || f.Flags&wire.EndStream == 0 {
		return nil
	}
	delete(g.streams, f.Stream)
	if s.got != len(g.message) {
		return fmt.Errorf("stream %d: %d bytes of %d came back", s.id, s.got, len(g.message))
	}
	g.owner.answered(s)
	return nil
}

func (g *grpcConn) consume(s *call, f wire.Frame) {
	if n := g.credit.Take(len(f.Payload)); n > 0 {
		g.out.SetBuffer(wire.AppendWindow(g.out.Buffer(), 0, n))
	}
	if s == nil {
		return
	}
	s.got += len(f.Body())
	if g.received == nil {
		return
	}
	if n := s.credit.Take(len(f.Payload)); n > 0 {
		g.out.SetBuffer(wire.AppendWindow(g.out.Buffer(), s.id, n))
	}
	g.received(len(f.Body()))
}

func (g *grpcConn) Writable() error {
	blocked, err := g.out.Flush(g.fd)
	if err != nil {
		g.owner.failed(err)
		return err
	}
	if blocked != g.writing {
		g.writing = blocked
		return g.loop.Interest(g.fd, true, blocked)
	}
	return nil
}

func (g *grpcConn) Closed() {}
