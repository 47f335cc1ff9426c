package limit

import "time"

// MaxBuckets bounds the keys that Buckets tells apart.
const MaxBuckets = 4096

// Rate is how much time one request costs, and how much may be spent at once. The zero Rate costs nothing.
type Rate struct{ Cost, Burst time.Duration }

// Bucket is one bucket of the generic cell rate algorithm (GCRA). A nil Bucket is always full.
type Bucket struct {
	rate Rate
	full time.Duration // when the bucket is full again: the theoretical arrival time
}

// Wait returns how long it takes at the time now of a monotonic clock until one request fits; 0 or less if it fits now.
func (b *Bucket) Wait(now time.Duration) time.Duration {
	if b == nil || b.rate.Cost == 0 {
		return 0 // also when times go back and forth, as several connections bring them
	}
	return max(b.full, now) + b.rate.Cost - b.rate.Burst - now
}

// Take takes one request out of the bucket, whether it fits or not.
func (b *Bucket) Take(now time.Duration) {
	if b != nil {
		b.full = max(b.full, now) + b.rate.Cost
	}
}

// Buckets keeps a Bucket for each key that is not full, and MaxBuckets at most. The zero Buckets is empty and ready.
// The caller guards it.
type Buckets[K comparable] struct {
	buckets map[K]*Bucket
	sweep   time.Duration // when full buckets may be looked for again
}

// Find returns the bucket of key, or nil, which is a full one.
func (b *Buckets[K]) Find(key K) *Bucket { return b.buckets[key] }

// Open returns the bucket of key, and makes one of the rate where there is none. It returns nil when MaxBuckets are in
// use.
func (b *Buckets[K]) Open(key K, rate Rate, now time.Duration) *Bucket {
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

// Len returns how many buckets there are.
func (b *Buckets[K]) Len() int { return len(b.buckets) }

// forget drops the buckets that are full. It looks at all of them, so it does at most once a second.
func (b *Buckets[K]) forget(now time.Duration) {
	if b.sweep > now {
		return
	}
	b.sweep = now + time.Second
	for key, bucket := range b.buckets {
		if bucket.full <= now {
			delete(b.buckets, key)
		}
	}
}
