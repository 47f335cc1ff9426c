package retry

import (
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

const (
	// steps is the number of steps of a budget's window, which expire one at a time.
	steps = 10
	// token is what one retry costs; a deposit is a fraction of it.
	token = 1 << 16
)

// Budget bounds retries: in any span of TTL there are at most Ratio times as many as requests, and MinPerSecond each
// second on top. It must not be used by two goroutines at once. Source: Finagle's RetryBudget and Linkerd's; unlike
// theirs, the reserve of the whole TTL cannot be spent at once: the first second of an outage is the worst time for it.
type Budget struct {
	deposit int64 // of a request
	step    time.Duration
	slots   [steps]int64  // of a step each: deposits minus what was taken
	at      int           // index of the current slot
	began   clock.Instant // of the current slot
	sum     int64         // of the slots
	reserve int64
	rate    int64         // what the reserve gets in a second, which is also its bound
	filled  clock.Instant // when the reserve was filled last
}

// NewBudget returns a budget whose reserve is full. A TTL of 0 means that of mesh.DefaultBudget.
func NewBudget(b mesh.Budget, now clock.Instant) *Budget {
	ttl := b.TTL
	if ttl <= 0 {
		ttl = mesh.DefaultBudget.TTL
	}
	rate := int64(b.MinPerSecond) * token
	return &Budget{
		deposit: int64(b.Ratio * token), step: max(ttl/steps, time.Millisecond), began: now, reserve: rate, rate: rate,
		filled: now,
	}
}

// Deposit counts a request that is not a retry.
func (b *Budget) Deposit(now clock.Instant) {
	b.expire(now)
	b.slots[b.at] += b.deposit
	b.sum += b.deposit
}

// Has reports whether there is a token.
func (b *Budget) Has(now clock.Instant) bool {
	b.expire(now)
	b.fill(now)
	return b.sum >= token || b.reserve >= token
}

// Take takes a token, if there is one.
func (b *Budget) Take(now clock.Instant) {
	if !b.Has(now) {
		return
	}
	if b.sum >= token {
		b.slots[b.at] -= token
		b.sum -= token
		return
	}
	b.reserve -= token
}

func (b *Budget) fill(now clock.Instant) {
	passed := min(max(now.Sub(b.filled), 0), time.Second)
	b.filled = now
	b.reserve = min(b.reserve+int64(float64(b.rate)*passed.Seconds()), b.rate)
}

// expire forgets what is older than the window.
func (b *Budget) expire(now clock.Instant) {
	for n := 0; now.Sub(b.began) >= b.step; n++ {
		if n == steps { // a long silence: everything is forgotten
			b.began = now
			return
		}
		b.began = b.began.Add(b.step)
		b.at = (b.at + 1) % steps
		b.sum -= b.slots[b.at]
		b.slots[b.at] = 0
	}
}
