package main

import (
	"errors"
	"net/netip"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// bulkConn moves opaque bytes in one direction as fast as they go.
type bulkConn struct {
	loop    *poll.Loop
	fd      int
	down    bool
	started bool
	moved   int64
	err     error
}

func runBulk(c config, loop *poll.Loop) (Result, error) {
	var conns []*bulkConn
	for range c.conns {
		fd, err := poll.Dial(c.addr, netip.Addr{})
		if err != nil {
			return Result{}, err
		}
		b := &bulkConn{loop: loop, fd: fd, down: c.down}
		if err := errors.Join(loop.Add(fd, b), loop.Interest(fd, true, true)); err != nil {
			return Result{}, err
		}
		conns = append(conns, b)
	}
	moved := func() (sum int64, err error) {
		for _, b := range conns {
			sum += b.moved
			err = errors.Join(err, b.err)
		}
		return sum, err
	}
	if err := until(loop, time.Now().Add(c.warmup)); err != nil {
		return Result{}, err
	}
	before, _ := moved()
	start := time.Now()
	if err := until(loop, start.Add(c.duration)); err != nil {
		return Result{}, err
	}
	after, err := moved()
	return Result{Bytes: after - before, Seconds: time.Since(start).Seconds()}, err
}

func (b *bulkConn) Writable() error {
	if !b.started {
		b.started = true
		mode := []byte("K")
		if b.down {
			mode = []byte("S")
		}
		if _, err := poll.Write(b.fd, mode); err != nil {
			return b.fail(err)
		}
		if b.down {
			return b.loop.Interest(b.fd, true, false)
		}
	}
	n, err := poll.Write(b.fd, readBuffer[:128<<10])
	b.moved += int64(n)
	return b.fail(err)
}

func (b *bulkConn) Readable() error {
	n, err := poll.Read(b.fd, readBuffer)
	b.moved += int64(n)
	return b.fail(err)
}

func (b *bulkConn) fail(err error) error {
	if err != nil {
		b.err = err
	}
	return err
}

func (b *bulkConn) Closed() {}
