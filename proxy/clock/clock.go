// Package clock is the proxy's own time.
//
// It owns the type of an instant, so that the compiler tells an instant from a span of time. It reaches nothing. The
// one idea: an instant is one number on the monotonic clock, cheaper to keep and to compare than a time.Time.
package clock

import "time"

// Instant is a moment, as the time since the proxy began.
type Instant time.Duration

// Since returns the Instant that is now, on the clock that began at start.
func Since(start time.Time) Instant { return Instant(time.Since(start)) }

// Add returns the Instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the time from earlier to i.
func (i Instant) Sub(earlier Instant) time.Duration { return time.Duration(i - earlier) }
