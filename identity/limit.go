package identity

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bounds the requests that are answered: a rate per second, and a burst after a quiet time. A request must pass
// all three limits. The limit of its address applies before anything else is done, then that of its proven identity,
// and that of all requests together.
type Limits struct {
	Address, Identity, Global Limit
	// InFlight bounds the number of requests in progress.
	InFlight int
}

// Limit is a token bucket.
type Limit struct {
	PerSecond float64
	Burst     int
}

// DefaultLimits returns limits with which ten thousand pods start within half a minute. A single pod that floods gets
// at most one request in fifty.
func DefaultLimits() Limits {
	return Limits{Address: Limit{10, 50}, Identity: Limit{100, 500}, Global: Limit{500, 1000}, InFlight: 64}
}

// maxBuckets bounds the buckets of a keyedLimiter. If more addresses or identities appear within one refill time, some
// of them start with a full bucket again. The limit of all requests together still applies.
const maxBuckets = 16384

// keyedLimiter is a token bucket for each key.
type keyedLimiter[K comparable] struct {
	limit Limit

	mu      sync.Mutex // guards the fields below
	buckets map[K]*rate.Limiter
	swept   time.Time
}

func newKeyedLimiter[K comparable](limit Limit) *keyedLimiter[K] {
	return &keyedLimiter[K]{limit: limit, buckets: map[K]*rate.Limiter{}}
}

// allow takes a token of key's bucket. It returns false if there is none.
func (l *keyedLimiter[K]) allow(key K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.buckets[key]
	if !ok {
		if len(l.buckets) >= maxBuckets {
			l.makeRoom(now)
		}
		bucket = rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst)
		l.buckets[key] = bucket
	}
	return bucket.AllowN(now, 1)
}

// makeRoom drops the full buckets, at most once a second: that changes no result. If that is not enough, it drops any.
func (l *keyedLimiter[K]) makeRoom(now time.Time) {
	if now.Sub(l.swept) >= time.Second {
		l.swept = now
		for key, bucket := range l.buckets {
			if bucket.TokensAt(now) >= float64(l.limit.Burst) {
				delete(l.buckets, key)
			}
		}
	}
	for key := range l.buckets {
		if len(l.buckets) < maxBuckets {
			return
		}
		delete(l.buckets, key)
	}
}
