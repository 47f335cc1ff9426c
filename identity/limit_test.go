package identity

import (
	"testing"
	"time"
)

func TestEachKeyHasItsOwnBucket(t *testing.T) {
	l := newKeyedLimiter[string](Limit{PerSecond: 1, Burst: 3})
	took := func(key string, at time.Time) (n int) {
		for range 10 {
			if l.allow(key, at) {
				n++
			}
		}
		return n
	}
	if got := took("a", now); got != 3 {
		t.Errorf("a got %d, want the burst of 3", got)
	}
	if got := took("b", now); got != 3 {
		t.Errorf("b got %d beside a, want 3", got)
	}
	if got := took("a", now.Add(2*time.Second)); got != 2 {
		t.Errorf("a got %d after two seconds, want 2", got)
	}
}

func TestLimiterRemembersABoundedNumberOfKeys(t *testing.T) {
	l := newKeyedLimiter[int](Limit{PerSecond: 1, Burst: 1})
	l.allow(-1, now)
	for i := range 3 * maxBuckets {
		l.allow(i, now.Add(time.Duration(i)*time.Microsecond))
		if len(l.buckets) > maxBuckets {
			t.Fatalf("%d buckets", len(l.buckets))
		}
	}
	later := now.Add(time.Minute)
	for i := range maxBuckets {
		l.allow(i, later)
	}
	if l.allow(0, later) {
		t.Error("a bucket that is empty was forgotten while full ones could be")
	}
}
