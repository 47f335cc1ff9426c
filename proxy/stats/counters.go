package stats

import (
	"sync"
	"sync/atomic"
)

// Counters are counters of a Registry that differ in K, found without making their labels again. Its methods may be used by several
// goroutines, and allocate nothing once a K has been seen.
type Counters[K comparable] struct {
	registry *Registry
	name     func(K) (family string, labels Labels)

	mu   sync.Mutex                 // serialises additions to list
	list atomic.Pointer[[]keyed[K]] // replaced as a whole
}

type keyed[K comparable] struct {
	key     K
	counter *Counter
}

// maxKeyed bounds the counters that are kept at hand; the Registry has the others.
const maxKeyed = 64

// NewCounters returns the counters that name names.
func NewCounters[K comparable](r *Registry, name func(K) (family string, labels Labels)) *Counters[K] {
	return &Counters[K]{registry: r, name: name}
}

// Inc adds one to the counter of k.
func (c *Counters[K]) Inc(k K) {
	list := c.list.Load()
	if list != nil {
		for i := range *list {
			if (*list)[i].key == k {
				(*list)[i].counter.Inc()
				return
			}
		}
	}
	c.add(k).Inc()
}

func (c *Counters[K]) add(k K) *Counter {
	counter := c.registry.Counter(c.name(k))
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []keyed[K]
	if p := c.list.Load(); p != nil {
		list = *p
	}
	for i := range list {
		if list[i].key == k {
			return counter
		}
	}
	if len(list) < maxKeyed {
		list = append(list[:len(list):len(list)], keyed[K]{k, counter})
		c.list.Store(&list)
	}
	return counter
}
