package main

import (
	"net/netip"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// churn opens a connection for every request and closes it after the answer, a fixed number of them at a time.
type churn struct {
	loop    *poll.Loop
	config  config
	source  uint16
	done    int64
	failure error
	ended   bool
}

func runChurn(c config, loop *poll.Loop) (Result, error) {
	w := &churn{loop: loop, config: c}
	for range c.conns {
		w.open()
	}
	run := func(d time.Duration) error {
		for deadline := time.Now().Add(d); w.failure == nil; {
			left := time.Until(deadline)
			if left <= 0 {
				return nil
			}
			if err := loop.Wait(left); err != nil {
				return err
			}
		}
		return w.failure
	}
	if err := run(c.warmup); err != nil {
		return Result{}, err
	}
	before, start := w.done, time.Now()
	if err := run(c.duration); err != nil {
		return Result{}, err
	}
	w.ended = true
	return Result{Requests: w.done - before, Seconds: time.Since(start).Seconds()}, nil
}

// open starts the next connection, from the next of 32 source addresses: one alone would run out of ports.
func (w *churn) open() {
	w.source++
	source := netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + w.source%32)})
	var err error
	if w.config.kind == "tcp" {
		err = openEcho(w.loop, w.config, w, source)
	} else {
		var h *httpConn
		if h, err = openHTTP(w.loop, w.config, w, source); err == nil {
			err = h.send()
		}
	}
	if err != nil {
		w.failed(err)
	}
}

func (w *churn) answered(s slot) {
	w.done++
	switch s := s.(type) {
	case *httpConn:
		w.loop.Close(s.fd)
	case *echoConn:
		w.loop.Close(s.fd)
	}
	if !w.ended {
		w.open()
	}
}

func (w *churn) failed(err error) {
	if w.failure == nil {
		w.failure = err
	}
}

// echoConn sends a few bytes through an opaque connection and waits for them.
type echoConn struct {
	fd      int
	loop    *poll.Loop
	owner   owner
	missing int
}

var echoMessage = append([]byte{'E'}, make([]byte, 100)...)

func openEcho(loop *poll.Loop, c config, o owner, source netip.Addr) error {
	fd, err := poll.Dial(c.addr, source)
	if err != nil {
		return err
	}
	e := &echoConn{fd: fd, loop: loop, owner: o, missing: len(echoMessage) - 1}
	if err := loop.Add(fd, e); err != nil {
		return err
	}
	return loop.Interest(fd, true, true)
}

func (e *echoConn) send() error { return nil }

func (e *echoConn) Writable() error {
	if _, err := poll.Write(e.fd, echoMessage); err != nil {
		e.owner.failed(err)
		return err
	}
	return e.loop.Interest(e.fd, true, false)
}

func (e *echoConn) Readable() error {
	n, err := poll.Read(e.fd, readBuffer)
	if err != nil {
		e.owner.failed(err)
		return err
	}
	if e.missing -= n; n > 0 && e.missing <= 0 {
		e.owner.answered(e)
	}
	return nil
}

func (e *echoConn) Closed() {}
