package sock

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Receiver takes the bytes that a connection read.
type Receiver interface {
	// Receive gets all unread bytes and returns how many it took. The rest comes again with more bytes behind it, and
	// must not exceed 64 KiB. After ErrPause, Pump waits for a token on its channel. After ErrMore, Pump checks whether
	// the connection broke behind those bytes. Any other error ends Pump, which returns it.
	Receive(in []byte) (n int, err error)
}

// ErrPause makes Pump stop reading for a while. A Receiver returns it.
var ErrPause = errors.New("sock: pause")

// ErrMore means that a Receiver waits for more bytes of the same message. It costs a system call: a reset that came
// with the last bytes does not show in the count of bytes left, and causes no further edge.
var ErrMore = errors.New("sock: more must come")

// errStuck means that a Receiver has a bug.
var errStuck = errors.New("sock: receiver neither takes what was read nor pauses")

// pump is the reading side of a Conn.
type pump struct {
	c       *Conn
	to      Receiver
	plain   aheadBuffer // decrypted bytes; unused without TLS
	inside  bool        // crypto/tls has more plaintext of the record that it read last
	drained bool        // the kernel reported that nothing is left to read
	inq     bool        // the kernel reports how much is left (TCP_INQ)
	// the error of crypto/tls; Receive gets the plaintext before it first, however often the receiver pauses
	end   error
	err   error
	recv  recvState
	ready func(fd uintptr) bool // onReady, made once
}

// Pump reads until the connection ends and passes everything to r, on the calling goroutine. If r paused it, a token on
// resume makes it continue. It returns io.EOF at the end of the stream, or the error that ended the stream. After
// os.ErrDeadlineExceeded it may be called again: no bytes are lost.
func (c *Conn) Pump(r Receiver, resume <-chan struct{}) error {
	p := &c.pump
	p.to, c.pumped = r, true
	p.inq = c.rc != nil && enableInq(c.rc)
	for {
		p.err = nil
		if err := p.process(); err == nil {
			if err := p.wait(); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					p.stop()
				}
				return err
			}
		} else {
			p.err = err
		}
		switch {
		case p.err == ErrPause: //nolint:errorlint // never wrapped: it crosses one call
			<-resume
		case p.err != nil:
			p.stop()
			return p.err
		}
	}
}

// AwaitHangup waits until the connection has ended in both directions, or done is closed. Call it when the peer has
// ended its sending direction. It returns an error if the connection broke. At first, a peer that is gone looks like
// one that still reads.
func (c *Conn) AwaitHangup(done <-chan struct{}) error {
	if c.rc == nil {
		<-done
		return nil
	}
	var broken error
	_ = c.rc.Read(func(fd uintptr) bool { // fails only when the connection is closed
		select {
		case <-done:
			return true
		default:
		}
		var ended bool
		ended, broken = hangup(fd)
		return ended
	})
	return broken
}

// AwaitBytes waits until the socket has bytes to read, and consumes none; with TLS they are ciphertext. It returns
// io.EOF at the end of the stream, or the error that ended the stream, which the kernel reports once. It returns
// os.ErrDeadlineExceeded only if the socket has no bytes and has not ended; then the connection is as before. It needs
// no buffer, so a connection may be silent for hours.
func (c *Conn) AwaitBytes() error {
	if c.rc == nil || c.ahead.len() > 0 {
		return nil
	}
	var n int
	var broken error
	ready := func(fd uintptr) bool {
		n, broken = pending(fd)
		return broken != syscall.EAGAIN && broken != syscall.EINTR
	}
	err := c.rc.Read(ready)
	if errors.Is(err, os.ErrDeadlineExceeded) { // the poller may not have looked at the socket
		if last := c.rc.Control(func(fd uintptr) { ready(fd) }); last == nil && broken != syscall.EAGAIN {
			err = nil
		}
	}
	switch {
	case err != nil:
		return err
	case broken == nil && n == 0:
		return io.EOF
	default:
		return broken
	}
}

func (p *pump) stop() {
	p.c.ahead.bytes, p.plain.bytes = nil, nil
	p.c.ahead.release()
	p.plain.release()
}

// wait reads until p.err is set. It returns only the poller's own error.
func (p *pump) wait() error {
	if p.c.rc == nil {
		return p.block()
	}
	p.drained = false // an edge may have been missed: the first call must check
	return p.c.rc.Read(p.ready)
}

// block reads until p.err is set, for connections without a descriptor.
func (p *pump) block() error {
	for p.err == nil {
		n, err := p.c.nc.Read(p.c.ahead.space())
		p.c.ahead.grew(max(n, 0))
		if n > 0 {
			p.err = p.process()
		}
		if p.err == nil && err != nil {
			p.err = err
			if err == io.EOF {
				p.err = p.c.eof()
			}
		}
		p.release()
	}
	return nil
}

// onReady is the poller's callback: it runs first at once, and then whenever the descriptor becomes readable. It
// returns true when p.err is set.
func (p *pump) onReady(fd uintptr) bool {
	for {
		if p.drained {
			p.drained = false
			p.release()
			return false
		}
		space := p.c.ahead.space()
		if len(space) == 0 {
			p.err = errStuck
			return true
		}
		n, left, err := p.recv.recvmsg(fd, space)
		switch {
		case err == syscall.EAGAIN:
			p.release()
			return false
		case err == syscall.EINTR:
			continue
		case err != nil:
			p.err = err
		case n == 0:
			p.err = p.c.eof()
		default:
			p.c.ahead.grew(n)
			p.drained = p.inq && left == 0
			p.err = p.process()
		}
		if p.err != nil {
			p.release()
			return true
		}
	}
}

// eof returns the error for the end of the socket. With TLS the peer must announce the end (RFC 8446 §6.1): crypto/tls
// reports that before.
func (c *Conn) eof() error {
	if c.tls != nil {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (p *pump) release() {
	p.c.ahead.release()
	p.plain.release()
}

// process passes all available bytes to the receiver.
func (p *pump) process() error {
	if p.c.tls == nil {
		return p.deliver(&p.c.ahead)
	}
	for {
		more := false
		if p.end == nil {
			more, p.end = p.decrypt()
		}
		if err := p.deliver(&p.plain); err != nil {
			return err
		}
		if !more {
			return p.end
		}
	}
}

func (p *pump) deliver(a *aheadBuffer) error {
	if a.len() == 0 {
		return nil
	}
	n, err := p.to.Receive(a.bytes)
	a.skip(n)
	if err == ErrMore { //nolint:errorlint // never wrapped: it crosses one call
		p.drained, err = false, nil
	}
	return err
}

// decrypt fills the plaintext buffer from complete records. more means that the buffer was too small for all of them.
func (p *pump) decrypt() (more bool, err error) {
	for had := p.plain.len(); ; {
		if !p.inside && p.c.recLeft == 0 && !completeRecord(p.c.ahead.bytes) {
			return false, nil
		}
		space := p.plain.space()
		if len(space) < maxPlaintext && p.plain.len() > had {
			return true, nil
		}
		n, err := p.c.tls.Read(space)
		p.plain.grew(n)
		p.inside = err == nil && n == len(space)
		if err == errWouldBlock { //nolint:errorlint // transport.Read's own value, never wrapped
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}
