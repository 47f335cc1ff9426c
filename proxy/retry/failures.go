package retry

import (
	"sync"
	"time"
)

// Failures remembers the calls of a pod's application that failed although they were retried, so that the pod's own
// failed answers can be told apart: one that only passes such a failure on must not be retried by the caller, who would
// multiply what was done already. Applications say nothing about which request they made a call for. But a call that
// belongs to a request is made and fails while the request is under way, and calls are made in the order in which
// requests come, more or less: that is how they are matched, one to one. The zero Failures remembers none. Its methods
// may be used by several goroutines.
type Failures struct {
	mu    sync.Mutex // guards the fields below
	calls [remembered]call
	last  int // of calls
	open  int // calls that nobody has claimed
}

// remembered is how many failures are kept: what a busy pod sees in the time that its application takes to pass one on.
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

// Claim reports whether a call failed that was made after begun, when the request came whose failed answer is there
// now, and takes it. Of several it is the one that was made first: a request that came later has made its call later,
// as a rule.
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
			break // and so are all before it
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
