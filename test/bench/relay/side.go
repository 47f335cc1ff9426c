package main

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// side is one socket of a relayed pair. What it reads goes to its peer's socket at once, or waits in the peer's send
// buffer while this side is not read: one buffer of bytes a direction, never more.
type side struct {
	relay   *relay
	fd      int
	peer    *side
	out     poll.SendBuffer // bytes for this side's socket
	ended   bool            // this side sent its end of stream
	paused  bool            // not read: the peer is full
	writing bool            // watched for room
}

func (s *side) Readable() error {
	n, err := poll.Read(s.fd, s.relay.buf)
	if errors.Is(err, poll.ErrClosed) {
		return s.end()
	}
	if err != nil || n == 0 {
		return err
	}
	sent := 0
	if s.peer.out.Len() == 0 {
		if sent, err = poll.Write(s.peer.fd, s.relay.buf[:n]); err != nil {
			if !errors.Is(err, unix.ENOTCONN) { // not connected yet: keep the bytes for later
				return err
			}
			sent = 0
		}
	}
	if sent == n {
		return nil
	}
	s.peer.out.Append(s.relay.buf[sent:n]...)
	s.paused = true
	s.peer.writing = true
	return errors.Join(s.watch(), s.peer.watch())
}

func (s *side) end() error {
	s.ended = true
	if s.peer.ended {
		return poll.ErrClosed
	}
	if s.peer.out.Len() == 0 {
		_ = unix.Shutdown(s.peer.fd, unix.SHUT_WR) // the peer may be gone already, its own event says so
	}
	return s.watch()
}

func (s *side) watch() error { return s.relay.loop.Interest(s.fd, !s.paused && !s.ended, s.writing) }

func (s *side) Writable() error {
	blocked, err := s.out.Flush(s.fd)
	if err != nil || blocked {
		return err
	}
	s.writing = false
	s.peer.paused = false
	if s.peer.ended {
		_ = unix.Shutdown(s.fd, unix.SHUT_WR)
	}
	return errors.Join(s.watch(), s.peer.watch())
}

func (s *side) Closed() { s.relay.loop.Close(s.peer.fd) }
