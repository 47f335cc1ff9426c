package inbound

import (
	"sync"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/limit"
)

// limiters holds the state of rate limits while policies change.
type limiters struct {
	mu    sync.Mutex // guards byRef
	byRef map[mesh.Ref]*limit.Limiter
}

// get returns the limiter for l: the active one if l has not changed.
func (ls *limiters) get(l *mesh.RateLimit) *limit.Limiter {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if active := ls.byRef[l.Ref]; active != nil && active.Keeps(l) {
		return active
	}
	made := limit.New(*l)
	ls.byRef[l.Ref] = made
	return made
}

// retain forgets the limiters of all rate limits but these.
func (ls *limiters) retain(limits []*mesh.RateLimit) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	byRef := make(map[mesh.Ref]*limit.Limiter, len(limits))
	for _, l := range limits {
		if limiter := ls.byRef[l.Ref]; limiter != nil {
			byRef[l.Ref] = limiter
		}
	}
	ls.byRef = byRef
}
