// Package latest publishes the newest of a sequence of values.
//
// It owns Cell, which has any number of readers, and Signal, which has one. It imports the standard library only. The
// one idea: a slow reader skips values, and never delays the writer or another reader.
package latest

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Cell has the latest of a sequence of values. The zero Cell is empty and ready to use. Readers share a value, so it
// must not be changed after Store.
type Cell[T any] struct {
	mu      sync.Mutex // guards the fields below
	value   T
	seq     uint64
	changed chan struct{} // closed by the next Store; the first waiter makes it
	follows map[*follow]struct{}
}

// follow is one call of Follow.
type follow struct{ wake func() }

// Store makes v the latest value and wakes every waiter.
func (c *Cell[T]) Store(v T) {
	for _, f := range c.set(v) {
		f.wake()
	}
}

// set stores v and returns the followers, so that Store wakes them without the lock.
func (c *Cell[T]) set(v T) []*follow {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = v
	c.seq++
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	if len(c.follows) == 0 {
		return nil
	}
	return slices.Collect(maps.Keys(c.follows))
}

// Follow calls wake after every Store, and at once if the cell already has a value, until stop is called. A Store that
// has begun may still call wake after stop. Follow is for a reader of many cells, which needs no goroutine for each.
// wake runs on the storing goroutine, so it must return quickly.
func (c *Cell[T]) Follow(wake func()) (stop func()) {
	f := &follow{wake}
	c.mu.Lock()
	if c.follows == nil {
		c.follows = map[*follow]struct{}{}
	}
	c.follows[f] = struct{}{}
	filled := c.seq > 0
	c.mu.Unlock()
	if filled {
		wake()
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.follows, f)
	}
}

// Load returns the latest value and its sequence number, which is 0 if nothing was stored yet.
func (c *Cell[T]) Load() (T, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, c.seq
}

// Wait returns the latest value once its sequence number differs from seen; 0 accepts any value. It returns ctx's error
// if ctx ends first.
func (c *Cell[T]) Wait(ctx context.Context, seen uint64) (T, uint64, error) {
	for {
		value, seq, changed := c.next(seen)
		if changed == nil {
			return value, seq, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var zero T
			return zero, seen, ctx.Err()
		}
	}
}

// next returns the value if it is newer than seen, otherwise a channel that the next Store closes.
func (c *Cell[T]) next(seen uint64) (T, uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seq != seen {
		return c.value, c.seq, nil
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	var zero T
	return zero, seen, c.changed
}
