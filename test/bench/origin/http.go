package main

import (
	"bytes"
	"fmt"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// endless is a body that no run reads to its end, in bytes.
const endless = 1 << 40

var (
	headEnd  = []byte("\r\n\r\n")
	small    = response(200)
	large    = response(64 << 10)
	infinite = head(endless)
)

func head(length int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nserver: origin\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n",
		length)
}

func response(length int) []byte { return append(head(length), bytes.Repeat([]byte("x"), length)...) }

// httpConn answers GET /200, GET /64k and GET /endless; requests have no bodies.
type httpConn struct {
	server  *server
	fd      int
	partial []byte // a head whose end did not arrive yet
	out     poll.SendBuffer
	rest    int // body bytes still to make
	writing bool
}

func (s *server) openHTTP(fd int) poll.Handler { return &httpConn{server: s, fd: fd} }

func (c *httpConn) Readable() error {
	n, err := poll.Read(c.fd, c.server.in)
	if err != nil || n == 0 {
		return err
	}
	data := c.server.in[:n]
	if len(c.partial) > 0 {
		data = append(c.partial, data...)
	}
	for {
		end := bytes.Index(data, headEnd)
		if end < 0 {
			break
		}
		c.answer(data[:end])
		data = data[end+len(headEnd):]
	}
	c.partial = append(c.partial[:0], data...)
	return c.flush()
}

func (c *httpConn) answer(request []byte) {
	switch {
	case bytes.HasPrefix(request, []byte("GET /64k ")):
		c.out.Append(large...)
	case bytes.HasPrefix(request, []byte("GET /endless ")):
		c.out.Append(infinite...)
		c.rest = endless
	default:
		c.out.Append(small...)
	}
}

func (c *httpConn) flush() error {
	for {
		blocked, err := c.out.Flush(c.fd)
		if err != nil {
			return err
		}
		if blocked != c.writing {
			c.writing = blocked
			if err := c.server.loop.Interest(c.fd, true, blocked); err != nil {
				return err
			}
		}
		if blocked || c.rest == 0 {
			return nil
		}
		part := min(c.rest, len(c.server.zeros))
		c.out.Append(c.server.zeros[:part]...)
		c.rest -= part
	}
}

func (c *httpConn) Writable() error { return c.flush() }
func (c *httpConn) Closed()         {}
