package main

import (
	"time"

	"github.com/tulle-mesh/tulle/test/bench/poll"
	"github.com/tulle-mesh/tulle/test/bench/wire"
)

// runStream keeps a fixed number of messages in flight on every bidirectional stream and counts what comes back.
func runStream(c config, loop *poll.Loop) (Result, error) {
	count := &counter{}
	var received int64
	for range c.conns {
		g, err := openGRPC(loop, c, count)
		if err != nil {
			return Result{}, err
		}
		g.follow(c, &received)
	}
	run := func(d time.Duration) error {
		for deadline := time.Now().Add(d); count.failure == nil; {
			left := time.Until(deadline)
			if left <= 0 {
				return nil
			}
			if err := loop.Wait(left); err != nil {
				return err
			}
		}
		return count.failure
	}
	if err := run(c.warmup); err != nil {
		return Result{}, err
	}
	before, start := received, time.Now()
	if err := run(c.duration); err != nil {
		return Result{}, err
	}
	size := int64(len(message(c.size)))
	return Result{Requests: (received - before) / size, Bytes: received - before, Seconds: time.Since(start).Seconds()},
		nil
}

// follow opens the streams with their first messages and sends one more for each that came back.
func (g *grpcConn) follow(c config, received *int64) {
	var calls []*call
	for range c.streams {
		s := &call{conn: g}
		s.begin()
		g.opened[s] = g.windows.Initial
		calls = append(calls, s)
	}
	for range c.depth {
		for _, s := range calls {
			g.say(s)
		}
	}
	partial, turn := 0, 0
	g.received = func(n int) {
		*received += int64(n)
		for partial += n; partial >= len(g.message); partial -= len(g.message) {
			g.say(calls[turn%len(calls)])
			turn++
		}
	}
}

// say sends one message on the stream, or holds it until the windows cover it.
func (g *grpcConn) say(s *call) {
	if len(g.held) > 0 || !g.fits(s) {
		g.held = append(g.held, s)
		return
	}
	g.emit(s)
}

func (g *grpcConn) fits(s *call) bool {
	return g.opened[s] >= len(g.message) && g.windows.Conn >= len(g.message)
}

func (g *grpcConn) emit(s *call) {
	g.opened[s] -= len(g.message)
	g.windows.Conn -= len(g.message)
	for m := g.message; len(m) > 0; {
		n := min(len(m), wire.MaxFrame)
		g.out.SetBuffer(wire.Append(g.out.Buffer(), wire.Data, 0, s.id, m[:n]))
		m = m[n:]
	}
}

func (g *grpcConn) release() {
	for len(g.held) > 0 && g.fits(g.held[0]) {
		s := g.held[0]
		g.held = g.held[1:]
		g.emit(s)
	}
}
