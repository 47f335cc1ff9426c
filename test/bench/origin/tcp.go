package main

import (
	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// The first byte of a raw TCP connection says what it wants.
const (
	modeSink   = 'K' // the server reads and forgets
	modeSource = 'S' // the server writes without end
	modeEcho   = 'E' // the server sends back what it reads
)

type tcpConn struct {
	server  *server
	fd      int
	mode    byte
	out     poll.SendBuffer
	writing bool
}

func (s *server) openTCP(fd int) poll.Handler { return &tcpConn{server: s, fd: fd} }

func (c *tcpConn) Readable() error {
	n, err := poll.Read(c.fd, c.server.in)
	if err != nil || n == 0 {
		return err
	}
	data := c.server.in[:n]
	if c.mode == 0 {
		c.mode, data = data[0], data[1:]
	}
	switch c.mode {
	case modeEcho:
		c.out.Append(data...)
		return c.flush()
	case modeSource:
		return c.pour()
	}
	return nil
}

// pour writes a few buffers and comes back when the socket has room again: other connections have their turn in
// between.
func (c *tcpConn) pour() error {
	for range 4 {
		n, err := poll.Write(c.fd, c.server.zeros)
		if err != nil {
			return err
		}
		if n < len(c.server.zeros) {
			break
		}
	}
	return c.watch(true)
}

func (c *tcpConn) flush() error {
	blocked, err := c.out.Flush(c.fd)
	if err != nil {
		return err
	}
	return c.watch(blocked)
}

func (c *tcpConn) watch(write bool) error {
	if write == c.writing {
		return nil
	}
	c.writing = write
	return c.server.loop.Interest(c.fd, true, write)
}

func (c *tcpConn) Writable() error {
	if c.mode == modeSource {
		return c.pour()
	}
	return c.flush()
}

func (c *tcpConn) Closed() {}
