package stats

import (
	"slices"
	"sync"
)

// balancer asks for the endpoints of the balancers that share its labels: a Service may be reached by several addresses.
type balancer struct {
	labels Labels

	mu     sync.Mutex // guards the fields below
	states []*func() Endpoints
}

// Endpoints is how many endpoints a balancer has. Ejected ones are among those that are Pending.
type Endpoints struct{ Ready, Pending, Ejected int }

// Balancer shows at each scrape what states says, until release is called.
func (r *Registry) Balancer(labels Labels, states func() Endpoints) (release func()) {
	e := r.hold(groupKey{balancerGroup, labels}, func(l Labels) group { return &balancer{labels: l} })
	b := e.group.(*balancer)
	b.mu.Lock()
	b.states = append(b.states, &states)
	b.mu.Unlock()
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.states = slices.DeleteFunc(b.states, func(s *func() Endpoints) bool { return s == &states })
		b.mu.Unlock()
		r.release(e)
	})
}

func (b *balancer) collect(f id, w *writer) {
	if f != balancerEndpoints && f != balancerEjected {
		return
	}
	b.mu.Lock()
	list := slices.Clone(b.states)
	b.mu.Unlock()
	if len(list) == 0 {
		return
	}
	var all Endpoints
	for _, states := range list {
		s := (*states)()
		all.Ready, all.Pending, all.Ejected = all.Ready+s.Ready, all.Pending+s.Pending, all.Ejected+s.Ejected
	}
	if f == balancerEjected {
		w.value(f, b.labels, uint64(all.Ejected))
		return
	}
	w.value(f, b.labels.With("endpoint_state", "ready"), uint64(all.Ready))
	w.value(f, b.labels.With("endpoint_state", "pending"), uint64(all.Pending))
}

func (b *balancer) activity() uint64 { return 0 }
