package stats

import (
	"sync"
	"sync/atomic"
)

// Counters are the counters of a Registry that differ in K. A counter is found without rendering its labels again. Its
// methods may be called by several goroutines, and allocate nothing once a K has been counted.
type Counters[K comparable] struct {
	registry *Registry
	name     func(K) (family string, labels Labels)

	mu     sync.Mutex                 // serialises changes of list; guards the field below
	closed bool                       // Close was called: no counter is acquired any more
	list   atomic.Pointer[[]keyed[K]] // replaced as a whole
}

type keyed[K comparable] struct {
	key     K
	counter *Counter
	release func()
}

// maxKeyed bounds the counters: a peer may choose a part of K.
const maxKeyed = 64

// NewCounters returns counters whose family and labels are the results of name. The first 64 have series of their own;
// the others share one, with the label overflow="true".
func NewCounters[K comparable](r *Registry, name func(K) (family string, labels Labels)) *Counters[K] {
	return &Counters[K]{registry: r, name: name}
}

// Inc adds one to the counter of k.
func (c *Counters[K]) Inc(k K) {
	if counter := c.find(k); counter != nil {
		counter.Inc()
		return
	}
	c.add(k)
}

func (c *Counters[K]) find(k K) *Counter {
	list := c.list.Load()
	if list == nil {
		return nil
	}
	for i := range *list {
		if (*list)[i].key == k {
			return (*list)[i].counter
		}
	}
	return nil
}

// add makes a counter and adds one to it.
func (c *Counters[K]) add(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	family, labels := c.name(k)
	if counter := c.find(k); counter != nil {
		counter.Inc()
		return
	}
	var list []keyed[K]
	if p := c.list.Load(); p != nil {
		list = *p
	}
	switch {
	case len(list) >= maxKeyed:
		c.registry.Inc(family, Labels("").With("overflow", "true"))
	case c.closed:
		c.registry.Inc(family, labels)
	default:
		counter, release := c.registry.Counter(family, labels)
		counter.Inc()
		list = append(list[:len(list):len(list)], keyed[K]{k, counter, release})
		c.list.Store(&list)
	}
}

// Close lets the registry evict the counters when they are idle. They still count.
func (c *Counters[K]) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list.Load()
	if c.closed || list == nil {
		c.closed = true
		return
	}
	c.closed = true
	c.list.Store(nil)
	for i := range *list {
		(*list)[i].release()
	}
}
