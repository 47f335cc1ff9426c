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
