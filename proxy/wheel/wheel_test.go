package wheel

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWheelFiresWhatIsDueAndNothingElse(t *testing.T) {
	start := time.Unix(1000, 0)
	w := New(start, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		Timer
		due   time.Time
		fired time.Time
	}
	now := start
	entries := make([]*entry, 500)
	for i := range entries {
		e := &entry{due: start.Add(time.Duration(rng.Int64N(int64(20 * time.Second))))}
		e.Fire = func() { e.fired = now }
		entries[i] = e
		w.Set(&e.Timer, e.due)
	}
	w.Set(&entries[0].Timer, start.Add(19*time.Second))
	entries[0].due = start.Add(19 * time.Second)
	w.Cancel(&entries[1].Timer)
	w.Cancel(&entries[1].Timer)
	for {
		at, ok := w.Next()
		if !ok {
			break
		}
		now = at
		w.Advance(now)
	}
	for i, e := range entries {
		if i == 1 {
			if !e.fired.IsZero() {
				t.Error("a cancelled timer fired")
			}
			continue
		}
		if late := e.fired.Sub(e.due); e.fired.IsZero() || late < 0 || late > 3*Tick {
			t.Errorf("timer %d: due %v, fired %v late", i, e.due.Sub(start), late)
		}
	}
}

func TestWheelWakesItsOwnerForAnEarlierTimer(t *testing.T) {
	start := time.Unix(1000, 0)
	woken := 0
	w := New(start, func() { woken++ })
	var far, near, farther Timer
	w.Set(&far, start.Add(time.Second))
	if at, _ := w.Next(); at.Sub(start) < 900*time.Millisecond {
		t.Errorf("sleeps until %v", at.Sub(start))
	}
	woken = 0
	w.Set(&farther, start.Add(2*time.Second))
	w.Set(&near, start.Add(100*time.Millisecond))
	if woken != 1 {
		t.Errorf("woken %d times, want 1", woken)
	}
}

func TestWheelSleepsUntilTheFirstDeadline(t *testing.T) {
	start := time.Now()
	woken := 0
	w := New(start, func() { woken++ })
	if _, ok := w.Next(); ok {
		t.Error("a deadline in an empty wheel")
	}
	var far, near Timer
	fired := ""
	far.Fire, near.Fire = func() { fired += "far " }, func() { fired += "near " }
	w.Set(&far, start.Add(2*time.Second))
	if woken != 1 {
		t.Errorf("woken %d times by the first timer, want 1", woken)
	}
	at, ok := w.Next()
	if d := at.Sub(start); !ok || d < 2*time.Second || d > 2*time.Second+2*Tick {
		t.Errorf("sleeps %v, want 2s", d)
	}
	w.Set(&near, start.Add(5*time.Second))
	if woken != 1 {
		t.Error("woken for a timer that is later than the first")
	}
	w.Set(&near, start.Add(time.Second))
	if woken != 2 {
		t.Error("not woken for a timer that is earlier than the first")
	}
	for range 2 {
		at, _ := w.Next()
		w.Advance(at)
	}
	if fired != "near far " {
		t.Errorf("fired %q", fired)
	}
}
