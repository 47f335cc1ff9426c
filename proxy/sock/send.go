package sock

import "syscall"

// sendState is the writing side of a Conn. The poller's callbacks use it.
type sendState struct {
	bufs [][]byte
	n    int // bytes of bufs that the socket accepted
	full bool
	err  error
	try  func(fd uintptr) bool // writes once
	wait func(fd uintptr) bool // writes until nothing is left
	// The same for sealed bytes.
	trySealed, waitSealed func(fd uintptr) bool

	sealing [1][]byte
	writev  writevState
}

func (s *sendState) init(c *Conn) {
	c.pump.ready = c.pump.onReady
	s.try = func(fd uintptr) bool {
		s.write(fd)
		return true
	}
	s.wait = func(fd uintptr) bool {
		s.write(fd)
		return !s.full || s.err != nil
	}
	s.trySealed = func(fd uintptr) bool {
		c.writeSealed(fd)
		return true
	}
	s.waitSealed = c.writeSealed
}

// write writes bufs until the socket is full.
func (s *sendState) write(fd uintptr) {
	s.full = false
	for {
		bufs, skip := s.bufs, s.n
		for len(bufs) > 0 && skip >= len(bufs[0]) {
			skip -= len(bufs[0])
			bufs = bufs[1:]
		}
		if len(bufs) == 0 {
			return
		}
		n, err := s.writev.do(fd, bufs, skip)
		switch {
		case err == syscall.EAGAIN:
			s.full = true
			return
		case err == syscall.EINTR:
			continue
		case err != nil:
			s.err = err
			return
		}
		s.n += n
	}
}

// raw writes bufs as they are. If block is set it waits until all are written. Otherwise full means that the socket
// accepted only n bytes.
func (c *Conn) raw(bufs [][]byte, block bool) (n int, full bool, err error) {
	if c.rc == nil {
		return c.rawBlocking(bufs, block)
	}
	s := &c.out
	s.bufs, s.n, s.err, s.full = bufs, 0, nil, false
	if block {
		err = c.rc.Write(s.wait)
	} else {
		err = c.rc.Write(s.try)
	}
	s.bufs = nil
	if s.err != nil {
		err = s.err
	}
	return s.n, s.full && err == nil, err
}

// rawBlocking does the same as raw for a connection without a descriptor. Without block it reports full at once, so
// that a goroutine that may wait calls Send.
func (c *Conn) rawBlocking(bufs [][]byte, block bool) (n int, full bool, err error) {
	if !block {
		return 0, true, nil
	}
	for _, b := range bufs {
		m, err := c.nc.Write(b)
		n += m
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// TrySend writes bufs, in order, and returns how many of their bytes the connection accepted. full means that the
// socket accepts no more now. Then call Send with the rest, on a goroutine that may wait. With TLS the rest may be
// empty, because only sealed bytes wait. Only one goroutine may send at a time.
func (c *Conn) TrySend(bufs [][]byte) (n int, full bool, err error) {
	if c.tls == nil {
		return c.raw(bufs, false)
	}
	return c.seal(bufs, false)
}

// Send writes bufs as TrySend does, and waits until everything is written.
func (c *Conn) Send(bufs [][]byte) (n int, err error) {
	if c.tls == nil {
		n, _, err = c.raw(bufs, true)
		return n, err
	}
	n, _, err = c.seal(bufs, true)
	return n, err
}

// Unsent reports whether sealed bytes wait to be sent: a full socket did not accept them, or crypto/tls wrote them
// during a read. TrySend or Send without buffers sends them.
func (c *Conn) Unsent() bool {
	if c.tls == nil {
		return false
	}
	c.sealMu.Lock()
	defer c.sealMu.Unlock()
	return len(c.sealed) > 0
}

// seal encrypts bufs, at most a Large at once, and sends the records.
func (c *Conn) seal(bufs [][]byte, block bool) (n int, full bool, err error) {
	const batch = 64 << 10
	if c.Unsent() {
		if full, err := c.flush(block); full || err != nil {
			return 0, full, err
		}
	}
	pending := 0
	for _, b := range bufs {
		for len(b) > 0 {
			part := b[:min(len(b), batch-pending)]
			b = b[len(part):]
			if _, err := c.tls.Write(part); err != nil {
				return n, false, err
			}
			n += len(part)
			if pending += len(part); pending < batch {
				continue
			}
			pending = 0
			if full, err := c.flush(block); full || err != nil {
				return n, full, err
			}
		}
	}
	full, err = c.flush(block)
	return n, full, err
}

// flush sends the sealed bytes. It takes the lock for each write separately: a reader must not wait for a slow peer.
func (c *Conn) flush(block bool) (full bool, err error) {
	if c.rc == nil {
		return c.flushBlocking(block)
	}
	s := &c.out
	s.n, s.err, s.full = 0, nil, false
	if block {
		err = c.rc.Write(s.waitSealed)
	} else {
		err = c.rc.Write(s.trySealed)
	}
	if s.err != nil {
		err = s.err
	}
	return s.full && err == nil, err
}

// writeSealed writes the sealed bytes until the socket is full. It runs inside the poller's callback, after the poller
// was armed, so that no edge is lost.
func (c *Conn) writeSealed(fd uintptr) (done bool) {
	c.sealMu.Lock()
	defer c.sealMu.Unlock()
	s := &c.out
	s.full = false
	if len(c.sealed) == 0 {
		return true
	}
	s.sealing[0] = c.sealed
	s.bufs, s.n = s.sealing[:], 0
	s.write(fd)
	s.bufs, s.sealing[0] = nil, nil
	c.sealed = c.sealed[s.n:]
	if len(c.sealed) == 0 || s.err != nil {
		c.sealBuf.Put()
		c.sealBuf, c.sealed = nil, nil
	}
	return !s.full || s.err != nil
}

func (c *Conn) flushBlocking(block bool) (full bool, err error) {
	c.sealMu.Lock()
	defer c.sealMu.Unlock()
	if len(c.sealed) == 0 || !block {
		return len(c.sealed) > 0, nil
	}
	_, err = c.nc.Write(c.sealed)
	c.sealBuf.Put()
	c.sealBuf, c.sealed = nil, nil
	return false, err
}
