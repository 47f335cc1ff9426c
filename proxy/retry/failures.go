package retry

import (
	"sync"
	"time"
)

// Failures remembers calls of a pod's application that failed for good. If the pod then fails a request because of such
// a call, the caller must not retry it: that would multiply the retries. Applications do not say for which request they
// made a call. But the call is made and fails while its request is in flight, and calls come roughly in the order of
// requests. So each failed request is matched with one failed call. The zero Failures remembers none. Its methods may
// be used by several goroutines.
type Failures struct {
	mu    sync.Mutex // guards the fields below
	calls [remembered]call
	last  int // of calls
	open  int // calls that nobody has claimed
}

// remembered bounds the failures: a busy pod has about as many while its application passes one on.
const remembered = 1024

type call struct{ begun, ended time.Time }

// Add remembers a call that failed for good.
func (f *Failures) Add(begun, ended time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = (f.last + 1) % remembered
	if f.calls[f.last].ended.IsZero() {
		f.open++
	}
	f.calls[f.last] = call{begun, ended}
}

// Claim matches a failed request, which came at begun, with a failed call that was made after it. It reports whether
// there is such a call, and forgets it. Of several calls it takes the first: requests that come later usually make
// their calls later.
func (f *Failures) Claim(begun time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first *call
	for i, left := 0, f.open; i < remembered && left > 0; i++ {
		c := &f.calls[(f.last-i+remembered)%remembered]
		if c.ended.IsZero() {
			continue
		}
		left--
		if c.ended.Before(begun) {
			break // so did all calls before it
		}
		if !c.begun.Before(begun) && (first == nil || c.begun.Before(first.begun)) {
			first = c
		}
	}
	if first == nil {
		return false
	}
	*first = call{}
	f.open--
	return true
}
