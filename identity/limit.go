package identity

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits says how many requests a second are answered, and how many at once after a quiet time. A request must pass all
// three: by the address that it comes from, before anything is spent on it; by the identity that it proved; and of all
// together.
type Limits struct {
	Address, Identity, Global Limit
	// InFlight bounds the requests in work at one time.
	InFlight int
}

// Limit is a token bucket.
type Limit struct {
	PerSecond float64
	Burst     int
}

// DefaultLimits let ten thousand pods start within half a minute, while one pod that floods gets no more than one in
// fifty.
func DefaultLimits() Limits {
	return Limits{Address: Limit{10, 50}, Identity: Limit{100, 500}, Global: Limit{500, 1000}, InFlight: 64}
}

// maxBuckets bounds what a keyedLimiter remembers. More addresses or identities than that within one refill time means
// that some of them start with a full bucket again; the limit of all together holds regardless.
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

// allow takes a token of key's bucket, if there is one.
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

// makeRoom forgets the buckets that are full again, which changes nothing, at most once a second; else any one.
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
