// Package backoff computes the waits between attempts that fail.
//
// It imports the standard library only. The one idea: waits double up to a maximum, and a part of each is random. So
// clients that failed together do not retry together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff computes the waits after consecutive failures. Set its fields before the first use. Only one goroutine may
// use it.
type Backoff struct {
	// First is the wait after the first failure; Max is the longest wait.
	First, Max time.Duration

	wait time.Duration
}

// Next returns the wait after one more failure: half of it is fixed, the rest is random.
func (b *Backoff) Next() time.Duration {
	b.wait = Double(b.wait, b.First, b.Max)
	return b.wait/2 + time.Duration(rand.Int64N(int64(b.wait/2)+1))
}

// Reset begins again with First, after a success.
func (b *Backoff) Reset() { b.wait = 0 }

// Double returns the wait after wait: twice as long, but between first and longest.
func Double[T ~int64](wait, first, longest T) T {
	if wait > longest/2 {
		return longest
	}
	return min(max(2*wait, first), longest)
}

// Spread returns d plus or minus a random part, which is at most fraction of d.
func Spread(d time.Duration, fraction float64) time.Duration {
	return time.Duration(float64(d) * (1 + fraction*(2*rand.Float64()-1)))
}

// Sleep waits for d. It returns ctx's error if ctx ends first.
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
