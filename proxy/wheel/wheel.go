// Package wheel is a coarse hashed timer wheel (Varghese and Lauck, scheme 6).
//
// It owns Wheel and Timer, and must not import any package of the proxy. The one idea: a Timer is a field of the object
// that it times, so that setting a timer allocates nothing and starts no goroutine.
package wheel

import "time"

const (
	// Tick is the resolution of a Wheel.
	Tick  = 10 * time.Millisecond
	slots = 512
)

// Timer is a deadline in a Wheel. The zero Timer is not set.
type Timer struct {
	next, prev *Timer
	at         int64 // tick; 0 while the timer is not set
	// Fire is called after the deadline has passed. Set it before Wheel.Set.
	Fire func()
}

// IsSet reports whether t is armed.
func (t *Timer) IsSet() bool { return t.at != 0 }

// Wheel holds timers. A deadline fires up to a Tick late, never early. It is not safe for concurrent use. Make one with
// New.
type Wheel struct {
	start time.Time
	last  int64 // the last tick that Advance handled
	count int
	slots [slots]*Timer
	// wakeAt is the tick at which the owner wakes up by itself; never if nothing is armed. Set calls wake for an
	// earlier tick.
	wakeAt int64
	wake   func()
}

// never is a tick that does not occur.
const never = 1<<63 - 1

// New returns an empty Wheel that begins at start. The Wheel calls wake when a timer is set for earlier than the last
// result of Next. wake may be nil.
func New(start time.Time, wake func()) Wheel { return Wheel{start: start, wakeAt: never, wake: wake} }

// Next returns when to call Advance: at the first deadline or earlier. ok is false if nothing is armed.
func (w *Wheel) Next() (at time.Time, ok bool) {
	w.wakeAt = never
	if w.count == 0 {
		return time.Time{}, false
	}
	w.wakeAt = w.last + slots
	for t := w.last + 1; t < w.last+slots; t++ {
		if w.slots[t%slots] != nil { // the timers may belong to a later round: then Advance finds nothing due
			w.wakeAt = t
			break
		}
	}
	return w.start.Add(time.Duration(w.wakeAt) * Tick), true
}

func (w *Wheel) tickOf(t time.Time) int64 { return int64(t.Sub(w.start)/Tick) + 1 }

// Set arms t for the instant at. If t is already armed, it moves.
func (w *Wheel) Set(t *Timer, at time.Time) {
	w.Cancel(t)
	t.at = max(w.tickOf(at), w.last+1)
	head := &w.slots[t.at%slots]
	t.next, t.prev = *head, nil
	if *head != nil {
		(*head).prev = t
	}
	*head = t
	if w.count++; t.at < w.wakeAt && w.wake != nil {
		w.wakeAt = t.at
		w.wake()
	}
}

// Cancel disarms t if it is armed.
func (w *Wheel) Cancel(t *Timer) {
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

// Advance fires the timers that are due at now. A timer may set and cancel any timer while it fires.
func (w *Wheel) Advance(now time.Time) {
	to := w.tickOf(now) - 1
	if w.count == 0 {
		w.last = max(w.last, to)
		return
	}
	for from := max(w.last+1, to-slots+1); from <= to; from++ {
		w.last = from
		for t := w.due(from, to); t != nil; t = w.due(from, to) {
			w.Cancel(t)
			t.Fire()
		}
	}
	w.last = max(w.last, to)
}

func (w *Wheel) due(slot, to int64) *Timer {
	for t := w.slots[slot%slots]; t != nil; t = t.next {
		if t.at <= to {
			return t
		}
	}
	return nil
}
