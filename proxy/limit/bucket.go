package limit

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/clock"
)

// MaxBuckets is the largest number of keys for which Buckets has a Bucket each.
const MaxBuckets = 4096

// Rate is the time that one request costs, and how much time a client may spend at once. The zero Rate costs nothing.
type Rate struct{ Cost, Burst time.Duration }

// Bucket is one bucket of the generic cell rate algorithm (GCRA). A nil Bucket is always full.
type Bucket struct {
	rate Rate
	full clock.Instant // when the bucket is full again: the theoretical arrival time
}

// Wait returns how long it takes until one request fits; 0 or less means now.
func (b *Bucket) Wait(now clock.Instant) time.Duration {
	if b == nil || b.rate.Cost == 0 {
		return 0 // also if now goes back: connections read the clock separately
	}
	return max(b.full, now).Sub(now) + b.rate.Cost - b.rate.Burst
}

// Take takes one request out of the bucket, even if it does not fit.
func (b *Bucket) Take(now clock.Instant) {
	if b != nil {
		b.full = max(b.full, now).Add(b.rate.Cost)
	}
}

// Buckets has a Bucket for each key whose Bucket is not full, and MaxBuckets at most. The zero Buckets is empty and
// ready to use. The caller's lock guards it.
type Buckets[K comparable] struct {
	buckets map[K]*Bucket
	sweep   clock.Instant // the earliest time of the next search for full buckets
}

// Find returns the bucket of key, or nil, which is a full bucket.
func (b *Buckets[K]) Find(key K) *Bucket { return b.buckets[key] }

// Open returns the bucket of key, and makes one with the rate if there is none. It returns nil if MaxBuckets are in
// use.
func (b *Buckets[K]) Open(key K, rate Rate, now clock.Instant) *Bucket {
	if found := b.buckets[key]; found != nil {
		return found
	}
	if len(b.buckets) >= MaxBuckets {
		b.forget(now)
	}
	if len(b.buckets) >= MaxBuckets {
		return nil
	}
	if b.buckets == nil {
		b.buckets = map[K]*Bucket{}
	}
	made := &Bucket{rate: rate}
	b.buckets[key] = made
	return made
}

// Len returns the number of buckets.
func (b *Buckets[K]) Len() int { return len(b.buckets) }

// forget drops the full buckets. It checks all buckets, so it runs at most once a second.
func (b *Buckets[K]) forget(now clock.Instant) {
	if b.sweep > now {
		return
	}
	b.sweep = now.Add(time.Second)
	for key, bucket := range b.buckets {
		if bucket.full <= now {
			delete(b.buckets, key)
		}
	}
}
