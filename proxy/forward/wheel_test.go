package forward

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWheelFiresWhatIsDueAndNothingElse(t *testing.T) {
	start := time.Unix(1000, 0)
	w := wheel{start: start}
	rng := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		timer
		due   time.Time
		fired time.Time
	}
	now := start
	entries := make([]*entry, 500)
	for i := range entries {
		e := &entry{due: start.Add(time.Duration(rng.Int64N(int64(20 * time.Second))))}
		e.fire = func() { e.fired = now }
		entries[i] = e
		w.set(&e.timer, e.due)
	}
	w.set(&entries[0].timer, start.Add(19*time.Second))
	entries[0].due = start.Add(19 * time.Second)
	w.cancel(&entries[1].timer)
	w.cancel(&entries[1].timer)
	for {
		at, ok := w.next()
		if !ok {
			break
		}
		now = at
		w.advance(now)
	}
	for i, e := range entries {
		if i == 1 {
			if !e.fired.IsZero() {
				t.Error("a cancelled timer fired")
			}
			continue
		}
		if late := e.fired.Sub(e.due); e.fired.IsZero() || late < 0 || late > 3*tick {
			t.Errorf("timer %d: due %v, fired %v late", i, e.due.Sub(start), late)
		}
	}
}

func TestWheelWakesItsOwnerForAnEarlierTimer(t *testing.T) {
	start := time.Unix(1000, 0)
	woken := 0
	w := wheel{start: start, wake: func() { woken++ }}
	var far, near, farther timer
	w.set(&far, start.Add(time.Second))
	if at, _ := w.next(); at.Sub(start) < 900*time.Millisecond {
		t.Errorf("sleeps until %v", at.Sub(start))
	}
	woken = 0
	w.set(&farther, start.Add(2*time.Second))
	w.set(&near, start.Add(100*time.Millisecond))
	if woken != 1 {
		t.Errorf("woken %d times, want 1", woken)
	}
}
