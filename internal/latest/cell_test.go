package latest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitReturnsWhatIsStored(t *testing.T) {
	var c Cell[string]
	c.Store("a")
	got, seq, err := c.Wait(t.Context(), 0)
	if got != "a" || seq != 1 || err != nil {
		t.Fatalf("got %q, %d, %v; want a, 1, nil", got, seq, err)
	}
}

func TestSlowReaderSkipsToTheLatest(t *testing.T) {
	var c Cell[int]
	c.Store(1)
	_, seen, _ := c.Wait(t.Context(), 0)
	c.Store(2)
	c.Store(3)
	if got, _, _ := c.Wait(t.Context(), seen); got != 3 {
		t.Fatalf("got %d, want 3", got)
	}
}

func TestWaitWakesEveryReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Cell[int]
		got := make(chan int, 3)
		for range 3 {
			go func() {
				v, _, _ := c.Wait(t.Context(), 0)
				got <- v
			}()
		}
		synctest.Wait()
		c.Store(7)
		for range 3 {
			if v := <-got; v != 7 {
				t.Errorf("got %d, want 7", v)
			}
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Cell[int]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := c.Wait(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want DeadlineExceeded", err)
		}
	})
}

func TestFollowerIsWokenByEveryStoreUntilItStops(t *testing.T) {
	var c Cell[int]
	woken := 0
	stop := c.Follow(func() { woken++ })
	if woken != 0 {
		t.Errorf("woken %d times by an empty cell, want 0", woken)
	}
	c.Store(1)
	c.Store(2)
	if woken != 2 {
		t.Errorf("woken %d times by 2 values, want 2", woken)
	}
	stop()
	c.Store(3)
	if woken != 2 {
		t.Errorf("woken %d times after it stopped, want 2", woken)
	}
}

func TestLateFollowerIsWokenAtOnce(t *testing.T) {
	var c Cell[int]
	c.Store(1)
	woken := 0
	defer c.Follow(func() { woken++ })()
	if woken != 1 {
		t.Errorf("woken %d times, want 1", woken)
	}
}

func TestFollowerMayReadAndStop(t *testing.T) {
	var c Cell[int]
	got := 0
	var stop func()
	stop = c.Follow(func() { got, _ = c.Load(); stop() })
	c.Store(5)
	c.Store(6)
	if got != 5 {
		t.Errorf("got %d, want 5: the follower stopped itself", got)
	}
}
