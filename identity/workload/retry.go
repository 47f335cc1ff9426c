package workload

import (
	"time"

	"github.com/tulle-mesh/tulle/internal/backoff"
)

// Pauses between attempts. A workload without a certificate cannot serve, so it retries quickly at first: in a starting
// cluster the identity controller is often ready seconds later. It never waits longer than half a minute. A workload
// with a valid certificate can wait longer.
const (
	minBackoff    = 500 * time.Millisecond
	maxBackoff    = 150 * time.Second
	urgentBackoff = 24 * time.Second
	// eagerness is how long after the first failure a workload without a certificate uses minBackoff.
	eagerness = 30 * time.Second
)

// retries paces the attempts after failures. The zero value has seen no failure.
type retries struct {
	since time.Time     // of the first of consecutive failures
	wait  time.Duration // before the last attempt, after eagerness
}

// next returns the pause after a failure at now. The pause ends no later than the certificate, in lifeLeft.
func (r *retries) next(lifeLeft time.Duration, now time.Time) time.Duration {
	urgent := lifeLeft <= 0
	if r.since.IsZero() {
		r.since = now
	}
	if urgent && now.Sub(r.since) < eagerness {
		return backoff.Spread(minBackoff, 0.5)
	}
	longest := maxBackoff
	if urgent {
		longest = urgentBackoff
	}
	r.wait = backoff.Double(r.wait, minBackoff, longest)
	pause := backoff.Spread(r.wait, 0.25)
	if !urgent {
		pause = min(pause, max(minBackoff, lifeLeft))
	}
	return pause
}
