package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// arm sets the timer to the earliest of the flight's deadlines.
func (fl *flight) arm() {
	var at time.Time
	earliest := func(from time.Time, d time.Duration) {
		if t := from.Add(d); d > 0 && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	switch fl.place.Of() {
	case &fl.e.waitingForEndpoint:
		at = fl.endpointBy
	case &fl.e.delayed:
		at = fl.wakeAt
	}
	if !fl.responseBegun {
		earliest(fl.x.Begun, fl.x.Timeouts.Response)
		if fl.attempting() {
			earliest(fl.x.Sent, fl.x.Timeouts.Attempt)
		}
	}
	earliest(fl.x.Begun, fl.x.Timeouts.Request)
	earliest(fl.moved, fl.x.Timeouts.Idle)
	if !at.IsZero() {
		fl.e.wheel.Set(&fl.timer, at)
	}
}

// attempting reports whether the flight is with an upstream.
func (fl *flight) attempting() bool { return fl.up != nil || fl.waiting != nil }

// connecting reports whether the flight waits for a connection that is being made, and not for room on one.
func (fl *flight) connecting() bool {
	u := fl.waiting
	if u == nil || u.cfg.Protocol == HTTP1 {
		return u != nil && u.dialing > 0
	}
	return len(u.shared) == 0 || fl.place.Of() == nil
}

// expired is the timer's callback. Deadlines of the exchange come before those of an attempt or a delay.
func (fl *flight) expired() {
	now := fl.e.now
	passed := func(from time.Time, d time.Duration) bool { return d > 0 && !now.Before(from.Add(d)) }
	timeout := func(reason string) {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: reason})
	}
	switch {
	case fl.place.Of() == &fl.e.waitingForEndpoint && !now.Before(fl.endpointBy):
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.NoEndpoint, Reason: "fail_fast"})
	case passed(fl.x.Begun, fl.x.Timeouts.Request):
		timeout(exchange.RequestTimeout)
	case !fl.responseBegun && passed(fl.x.Begun, fl.x.Timeouts.Response):
		timeout(exchange.ResponseTimeout)
	case passed(fl.moved, fl.x.Timeouts.Idle):
		timeout(exchange.IdleTimeout)
	case !fl.responseBegun && fl.attempting() && passed(fl.x.Sent, fl.x.Timeouts.Attempt):
		// A request that still waits for its connection has not left, so nobody can have processed it.
		fl.fault(exchange.Fault{
			Side: exchange.Upstream, Kind: exchange.Timeout, Reason: exchange.AttemptTimeout, SafeToResend: fl.up == nil,
		})
	case fl.place.Of() == &fl.e.delayed && !now.Before(fl.wakeAt):
		fl.unlist()
		fl.moved = now
		fl.route()
		if !fl.ended {
			fl.arm()
		}
	default:
		fl.arm()
	}
}
