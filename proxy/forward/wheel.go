package forward

import "time"

const (
	tick  = 10 * time.Millisecond
	slots = 512
)

// timer is a deadline in the wheel. The zero timer is not set. Timers are fields of what they time, so setting one
// allocates nothing.
type timer struct {
	next, prev *timer
	at         int64 // tick
	fire       func()
}

// wheel is a coarse hashed timer wheel: a deadline fires up to a tick late. The engine's lock guards it.
type wheel struct {
	start time.Time
	last  int64 // the last tick that was advanced to
	count int
	slots [slots]*timer
	// asleep is the tick at which the owner wakes up by itself: never when nothing is armed. wake is called for an
	// earlier one.
	asleep int64
	wake   func()
}

// never is a tick that does not come.
const never = 1<<63 - 1

// next says when to call advance: not later than the first deadline. ok is false when nothing is armed.
func (w *wheel) next() (at time.Time, ok bool) {
	w.asleep = never
	if w.count == 0 {
		return time.Time{}, false
	}
	w.asleep = w.last + slots
	for t := w.last + 1; t < w.last+slots; t++ {
		if w.slots[t%slots] != nil { // perhaps of a later round: then it is looked at in vain
			w.asleep = t
			break
		}
	}
	return w.start.Add(time.Duration(w.asleep) * tick), true
}

func (w *wheel) tickOf(t time.Time) int64 { return int64(t.Sub(w.start)/tick) + 1 }

// set arms t for the instant at. A timer that is armed already moves.
func (w *wheel) set(t *timer, at time.Time) {
	w.cancel(t)
	t.at = max(w.tickOf(at), w.last+1)
	head := &w.slots[t.at%slots]
	t.next, t.prev = *head, nil
	if *head != nil {
		(*head).prev = t
	}
	*head = t
	if w.count++; t.at < w.asleep && w.wake != nil {
		w.asleep = t.at
		w.wake()
	}
}

// cancel disarms t if it is armed.
func (w *wheel) cancel(t *timer) {
	if t.at == 0 {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.at%slots] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.at = nil, nil, 0
	w.count--
}

// advance fires what is due at now. A timer may set and cancel any timer while it fires.
func (w *wheel) advance(now time.Time) {
	to := w.tickOf(now) - 1
	if w.count == 0 {
		w.last = max(w.last, to)
		return
	}
	for from := max(w.last+1, to-slots+1); from <= to; from++ {
		w.last = from
		for t := w.due(from, to); t != nil; t = w.due(from, to) {
			w.cancel(t)
			t.fire()
		}
	}
	w.last = max(w.last, to)
}

func (w *wheel) due(slot, to int64) *timer {
	for t := w.slots[slot%slots]; t != nil; t = t.next {
		if t.at <= to {
			return t
		}
	}
	return nil
}
