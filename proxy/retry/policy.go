// Package retry decides whether a request that failed is sent again.
//
// It owns the decision (Policy.Decide), the budgets that bound retries, the pauses after a refusal (WaitAfterRefusal),
// and the memory that keeps the layers of a call chain from retrying what a lower one has retried already (Failures).
// It imports mesh, internal/backoff, proxy/clock and the standard library, knows nothing of connections and never asks
// for the time. The one idea: a retry is a second request that somebody pays for, so each one needs a reason, time that
// is left, and a token.
package retry

import (
	"time"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

// Skip says why a failure that the policy would retry is not retried, as the constant word that labels metrics. The
// empty Skip means that it is retried.
type Skip string

// The reasons. What the engine says in Exchange.CannotResend is a Skip too.
const (
	Limit     Skip = "limit"     // the request had all retries that the policy allows
	Overflow  Skip = "budget"    // a budget has no token
	Deadline  Skip = "deadline"  // what is left of the request's time cannot cover another attempt
	Exhausted Skip = "exhausted" // a proxy further along has retried already
)

// Policy is how the requests of one rule are retried. Its budgets are shared with other rules; Own may be nil. A Policy
// must not be used by two goroutines at once, nor may policies that share a budget.
type Policy struct {
	mesh.Retry
	Service, Own *Budget
}

// Covers reports whether the policy retries a response with that HTTP status, or with that gRPC status if grpc is not
// negative.
func (p *Policy) Covers(status int, grpc int16) bool {
	if grpc > 0 && grpc < 32 && p.GRPC>>grpc&1 == 1 {
		return true
	}
	for _, r := range p.Statuses {
		if int(r.First) <= status && status <= int(r.Last) {
			return true
		}
	}
	return false
}

// Attempt describes a failed attempt that the policy covers.
type Attempt struct {
	// Retries is how many retries there were before.
	Retries uint32
	// CannotResend is the engine's reason why the request cannot be sent again; "" if it can.
	CannotResend string
	// Exhausted says that a proxy further along has retried already.
	Exhausted bool
	// Bounded says that the request's time is bounded: Left of it is left. Expected is how long an attempt usually
	// takes.
	Bounded        bool
	Left, Expected time.Duration
	// Draw in [0, 1) spreads the backoff.
	Draw float64
}

// Decide returns how long to wait before the request is sent again, or why it is not. A retry takes a token of each
// budget.
func (p *Policy) Decide(a Attempt, now clock.Instant) (wait time.Duration, skip Skip) {
	wait = Backoff(p.Backoff, a.Retries, a.Draw)
	switch {
	case a.Exhausted:
		return 0, Exhausted
	case a.Retries >= p.Limit:
		return 0, Limit
	case a.CannotResend != "":
		return 0, Skip(a.CannotResend)
	case a.Bounded && a.Left <= wait+a.Expected:
		return 0, Deadline
	case !p.Service.Has(now) || p.Own != nil && !p.Own.Has(now):
		return 0, Overflow
	}
	p.Service.Take(now)
	if p.Own != nil {
		p.Own.Take(now)
	}
	return wait, ""
}

// maxBackoff is the bound of the doubling.
const maxBackoff = 30 * time.Second

// Backoff returns the time before retry n, counted from 0: base doubled n times, and up to half as much again by draw,
// which is in [0, 1). The draw spreads the retries of requests that failed together.
func Backoff(base time.Duration, n uint32, draw float64) time.Duration {
	if base <= 0 {
		return 0
	}
	d := min(base, maxBackoff)
	for ; n > 0 && d < maxBackoff; n-- {
		d = backoff.Double(d, base, maxBackoff)
	}
	return d + time.Duration(draw*float64(d)/2)
}

// Pace is how long an attempt usually takes: a moving average. The zero Pace expects 0.
type Pace struct{ mean time.Duration }

// Observe adds the time of an attempt that succeeded.
func (p *Pace) Observe(d time.Duration) {
	if p.mean == 0 {
		p.mean = d
		return
	}
	p.mean += (d - p.mean) / 8
}

// Expected returns the mean; 0 before the first observation.
func (p *Pace) Expected() time.Duration { return p.mean }
