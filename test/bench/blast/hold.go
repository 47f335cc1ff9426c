package main

import (
	"net/netip"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/poll"
)

// counter waits for a number of answers.
type counter struct {
	answers int
	failure error
	slots   []slot
}

func (c *counter) answered(s slot) {
	c.answers++
	c.slots = append(c.slots, s)
}

func (c *counter) failed(err error) {
	if c.failure == nil {
		c.failure = err
	}
}

// runHold opens connections, makes one exchange on each and keeps them idle, but for a trickle of requests at the rate
// given.
func runHold(c config, loop *poll.Loop) (Result, error) {
	count := &counter{}
	for opened := 1; opened <= c.conns; opened++ {
		if c.kind == "tcp" {
			if err := openEcho(loop, c, count, netip.Addr{}); err != nil {
				return Result{}, err
			}
		} else {
			h, err := openHTTP(loop, c, count, netip.Addr{})
			if err == nil {
				err = h.send()
			}
			if err != nil {
				return Result{}, err
			}
		}
		// One after the other: what is measured is what stays, not a storm.
		for count.answers < opened && count.failure == nil {
			if err := loop.Wait(time.Second); err != nil {
				return Result{}, err
			}
		}
		if count.failure != nil {
			return Result{}, count.failure
		}
	}
	next, turn := time.Now(), 0
	err := serveUntilEOF(loop, func(now time.Time) time.Duration {
		if c.rate == 0 || c.kind == "tcp" {
			return 50 * time.Millisecond
		}
		for !next.After(now) {
			if err := count.slots[turn%c.conns].send(); err != nil {
				count.failed(err)
			}
			turn++
			next = next.Add(time.Duration(float64(time.Second) / c.rate))
		}
		return min(next.Sub(now), 50*time.Millisecond)
	})
	if err == nil {
		err = count.failure
	}
	return Result{Requests: int64(count.answers)}, err
}

// runStall asks for an endless body on every connection and reads only its beginning.
func runStall(c config, loop *poll.Loop) (Result, error) {
	count := &counter{}
	var conns []*httpConn
	for range c.conns {
		h, err := openHTTP(loop, c, count, netip.Addr{})
		if err == nil {
			err = h.send()
		}
		if err != nil {
			return Result{}, err
		}
		conns = append(conns, h)
	}
	stalled := 0
	for stalled < len(conns) && count.failure == nil {
		if err := loop.Wait(time.Second); err != nil {
			return Result{}, err
		}
		for _, h := range conns {
			if !h.stalled && h.bytes > 0 {
				h.stalled = true
				stalled++
				if err := loop.Interest(h.fd, false, false); err != nil {
					return Result{}, err
				}
			}
		}
	}
	if count.failure != nil {
		return Result{}, count.failure
	}
	return Result{Requests: int64(stalled)},
		serveUntilEOF(loop, func(time.Time) time.Duration { return 50 * time.Millisecond })
}

// runDownload reads an endless body on every connection as fast as it comes.
func runDownload(c config, loop *poll.Loop) (Result, error) {
	count := &counter{}
	var conns []*httpConn
	for range c.conns {
		h, err := openHTTP(loop, c, count, netip.Addr{})
		if err == nil {
			err = h.send()
		}
		if err != nil {
			return Result{}, err
		}
		conns = append(conns, h)
	}
	if err := until(loop, time.Now().Add(c.duration)); err != nil {
		return Result{}, err
	}
	result := Result{Seconds: c.duration.Seconds()}
	for _, h := range conns {
		result.Bytes += h.bytes
	}
	return result, count.failure
}
