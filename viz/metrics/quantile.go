package metrics

import (
	"math"
	"slices"
	"strconv"
)

// Bucket is one bucket of a histogram: how many observations were at most Le. The last bucket's Le is +Inf.
type Bucket struct {
	Le    float64
	Count float64
}

// AddBucket adds a sample of a histogram's _bucket series to the bucket of its label le. It ignores a sample whose le
// is not a number.
func AddBucket(buckets []Bucket, s Sample) []Bucket {
	le, err := strconv.ParseFloat(s.Labels["le"], 64)
	if err != nil || math.IsNaN(le) {
		return buckets
	}
	i, found := slices.BinarySearchFunc(buckets, le, func(b Bucket, le float64) int {
		switch {
		case b.Le < le:
			return -1
		case b.Le > le:
			return 1
		}
		return 0
	})
	if !found {
		buckets = slices.Insert(buckets, i, Bucket{Le: le})
	}
	buckets[i].Count += s.Value
	return buckets
}

// Quantile returns the value below which the share p, from 0 to 1, of the observations lie, as Prometheus's
// histogram_quantile estimates it: linear within a bucket, and the highest finite bound for what lies beyond. It is NaN
// without observations. buckets are in the order of their bounds.
func Quantile(p float64, buckets []Bucket) float64 {
	n := len(buckets)
	if n < 2 || !math.IsInf(buckets[n-1].Le, 1) || buckets[n-1].Count <= 0 {
		return math.NaN()
	}
	rank := p * buckets[n-1].Count
	i := slices.IndexFunc(buckets[:n-1], func(b Bucket) bool { return b.Count >= rank })
	if i < 0 {
		return buckets[n-2].Le
	}
	from, below := 0.0, 0.0
	if i > 0 {
		from, below = buckets[i-1].Le, buckets[i-1].Count
	} else if buckets[0].Le <= 0 {
		return buckets[0].Le
	}
	within := buckets[i].Count - below
	if within <= 0 {
		return from
	}
	return from + (buckets[i].Le-from)*(rank-below)/within
}
