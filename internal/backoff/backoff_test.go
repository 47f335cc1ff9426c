package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitsDoubleUpToTheMaximum(t *testing.T) {
	b := Backoff{First: time.Second, Max: 5 * time.Second}
	check := func(want time.Duration) {
		t.Helper()
		if got := b.Next(); got < want/2 || got > want {
			t.Errorf("got %v, want %v to %v", got, want/2, want)
		}
	}
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		check(want)
	}
	b.Reset()
	check(time.Second)
}

func TestDouble(t *testing.T) {
	for name, c := range map[string]struct{ wait, first, longest, want time.Duration }{
		"the first":                    {0, 10, 100, 10},
		"twice as long":                {10, 10, 100, 20},
		"never longer than allowed":    {60, 10, 100, 100},
		"no overflow":                  {1<<63 - 1, 10, 1<<63 - 1, 1<<63 - 1},
		"a first beyond the longest":   {0, 200, 100, 100},
		"a longest that went down":     {80, 10, 50, 50},
		"a first that went up":         {10, 50, 100, 50},
		"the longest stays":            {100, 10, 100, 100},
		"half of the longest, odd one": {50, 10, 101, 100},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Double(c.wait, c.first, c.longest); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSpreadStaysWithinItsFraction(t *testing.T) {
	for range 1000 {
		if got := Spread(100, 0.25); got < 75 || got > 125 {
			t.Fatalf("got %v, want 75 to 125", got)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := Sleep(t.Context(), time.Hour); err != nil {
			t.Errorf("got %v, want nil", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	})
}
