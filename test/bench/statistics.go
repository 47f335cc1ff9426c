package main

import (
	"math/rand/v2"
	"slices"
)

// median of a copy of v; 0 for none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// interval is the bootstrap 95 % confidence interval of the median: percentiles of the medians of 2000 resamples. The
// seed is fixed, so that the same samples give the same interval.
func interval(v []float64) (low, high float64) {
	if len(v) == 0 {
		return 0, 0
	}
	r := rand.New(rand.NewPCG(1, 1))
	medians := make([]float64, 2000)
	sample := make([]float64, len(v))
	for i := range medians {
		for j := range sample {
			sample[j] = v[r.IntN(len(v))]
		}
		medians[i] = median(sample)
	}
	slices.Sort(medians)
	return medians[len(medians)*25/1000], medians[len(medians)*975/1000]
}
