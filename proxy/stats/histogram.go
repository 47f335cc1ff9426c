package stats

import (
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of Linkerd's latency buckets, in milliseconds; one more bucket is unbounded.
var bounds = [...]uint32{
	1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000, 10000, 20000, 30000, 40000,
	50000,
}

// histogramSeries is how many series a histogram has: its buckets, the sum and the count.
const histogramSeries = len(bounds) + 1 + 2

// histogram counts durations. Its sum is in microseconds.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	micros  atomic.Uint64
	// exemplars is nil until a sampled request was counted.
	exemplars atomic.Pointer[exemplarBox]
}

func (h *histogram) observe(d time.Duration) {
	micros := microsOf(d)
	h.micros.Add(micros)
	h.buckets[bucketOf(micros)].Add(1)
}

func microsOf(d time.Duration) uint64 { return uint64(max(d, 0) / time.Microsecond) }

// bucketOf returns the index of the bucket of a duration.
func bucketOf(micros uint64) int {
	i := 0
	for i < len(bounds) && micros > uint64(bounds[i])*1000 {
		i++
	}
	return i
}

func (h *histogram) count() uint64 {
	var n uint64
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}
