package daemon

import (
	"slices"
	"sync"
)

// Readiness is a set of named tasks that must be done before a process is ready. The zero Readiness waits for nothing,
// so add all tasks before the admin server starts. Its methods may be called by several goroutines.
type Readiness struct {
	mu      sync.Mutex // guards waiting
	waiting []string
}

// Task adds a task and returns the function that marks it as done. Further calls of that function have no effect.
func (r *Readiness) Task(name string) (done func()) {
	r.Wait(name)
	return func() { r.Done(name) }
}

// Wait adds the task if it is missing. The process is not ready until Done.
func (r *Readiness) Wait(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.waiting, name) {
		r.waiting = append(r.waiting, name)
	}
}

// Done removes the task.
func (r *Readiness) Done(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(s string) bool { return s == name })
}

// Waiting returns the names of the tasks that are not done yet.
func (r *Readiness) Waiting() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.waiting)
}
