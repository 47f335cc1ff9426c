// Package backoff computes how long to wait between attempts that fail.
//
// Waits double up to a maximum, and part of each is random, so that clients that failed together do not come back
// together. It imports the standard library only.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff paces the attempts after failures. The fields are set before the first use. It belongs to one goroutine.
type Backoff struct {
	// First is the wait after the first failure, and Max the longest.
	First, Max time.Duration

	wait time.Duration
}

// Next returns the wait after one more failure in a row: half of it for certain, the rest at random.
func (b *Backoff) Next() time.Duration {
	b.wait = Double(b.wait, b.First, b.Max)
	return b.wait/2 + time.Duration(rand.Int64N(int64(b.wait/2)+1))
}

// Reset begins again, after a success.
func (b *Backoff) Reset() { b.wait = 0 }

// Double returns the wait that follows wait: twice as long, first at least, and longest at most.
func Double[T ~int64](wait, first, longest T) T {
	if wait > longest/2 {
		return longest
	}
	return min(max(2*wait, first), longest)
}

// Spread returns d, plus or minus a random share of it that is fraction at most.
func Spread(d time.Duration, fraction float64) time.Duration {
	return time.Duration(float64(d) * (1 + fraction*(2*rand.Float64()-1)))
}

// Sleep waits for d. The error is that of ctx, if it ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
