package main

import "testing"

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []float64
		want float64
	}{
		{"none is zero", nil, 0},
		{"odd count takes the middle one", []float64{9, 1, 5}, 5},
		{"even count takes the mean of the middle two", []float64{4, 1, 3, 100}, 3.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := median(c.in); got != c.want {
				t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
			}
		})
	}
}

func TestIntervalHoldsTheMedianAndGrowsWithSpread(t *testing.T) {
	narrow, wide := []float64{1.00, 1.01, 0.99, 1.00, 1.02, 0.98, 1.00}, []float64{0.5, 1.0, 1.5, 0.6, 1.4, 1.0, 2.0}
	nl, nh := interval(narrow)
	wl, wh := interval(wide)
	if nl > median(narrow) || nh < median(narrow) || wl > median(wide) || wh < median(wide) {
		t.Errorf("intervals [%v %v] and [%v %v] do not hold the medians", nl, nh, wl, wh)
	}
	if nh-nl >= wh-wl {
		t.Errorf("narrow interval %v is not below wide interval %v", nh-nl, wh-wl)
	}
	if low, high := interval([]float64{3}); low != 3 || high != 3 {
		t.Errorf("interval of one sample = %v %v, want 3 3", low, high)
	}
}
