package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// owner hears what becomes of a connection's requests.
type owner interface {
	answered(s slot)
	failed(err error)
}

// httpConn is one HTTP/1 connection that carries one request after the other.
type httpConn struct {
	loop    *poll.Loop
	fd      int
	owner   owner
	request []byte
	out     poll.SendBuffer
	writing bool
	in      []byte // an incomplete head
	body    int    // bytes of the body still to come
	bytes   int64
	stalled bool // reads nothing any more
}

var readBuffer = make([]byte, 256<<10) // one thread

func dialHTTP(loop *poll.Loop, c config, o owner) ([]slot, error) {
	h, err := openHTTP(loop, c, o, netip.Addr{})
	if err != nil {
		return nil, err
	}
	return []slot{h}, nil
}

func openHTTP(loop *poll.Loop, c config, o owner, source netip.Addr) (*httpConn, error) {
	fd, err := poll.Dial(c.addr, source)
	if err != nil {
		return nil, err
	}
	h := &httpConn{loop: loop, fd: fd, owner: o,
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nhost: %s\r\nuser-agent: blast\r\n\r\n", c.path, c.host)}
	if err := loop.Add(fd, h); err != nil {
		return nil, err
	}
	h.writing = true // the socket connects: send when it can be written
	return h, loop.Interest(fd, true, true)
}

func (h *httpConn) send() error {
	h.out.Append(h.request...)
	if h.writing {
		return nil
	}
	return h.Writable()
}

func (h *httpConn) Writable() error {
	blocked, err := h.out.Flush(h.fd)
	if err != nil {
		return h.fail(err)
	}
	if blocked != h.writing {
		h.writing = blocked
		return h.loop.Interest(h.fd, !h.stalled, blocked)
	}
	return nil
}

func (h *httpConn) Readable() error {
	n, err := poll.Read(h.fd, readBuffer)
	if err != nil {
		return h.fail(err)
	}
	h.bytes += int64(n)
	data := readBuffer[:n]
	for len(data) > 0 {
		if h.body > 0 {
			part := min(h.body, len(data))
			h.body -= part
			data = data[part:]
		} else {
			h.in = append(h.in, data...)
			end := bytes.Index(h.in, []byte("\r\n\r\n"))
			if end < 0 {
				return nil
			}
			if h.body, err = bodyLength(h.in[:end+2]); err != nil {
				return h.fail(err)
			}
			data = data[len(data)-(len(h.in)-end-4):]
			h.in = h.in[:0]
		}
		if h.body == 0 {
			h.owner.answered(h)
		}
	}
	return nil
}

func (h *httpConn) fail(err error) error {
	h.owner.failed(err)
	return err
}

func (h *httpConn) Closed() {}

// bodyLength checks the status of a head and returns its content-length.
func bodyLength(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return 0, fmt.Errorf("answer %q", line)
	}
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, errors.New("answer without content-length")
}
