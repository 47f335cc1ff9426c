// Package limit bounds the rate of requests, for all clients together and for each of them.
//
// It owns the buckets of a mesh.RateLimit, and buckets for any other key. It imports mesh, proxy/clock and the standard
// library only. The one idea: a bucket is one number, the time at which it is full again (GCRA). A bucket whose time
// has passed can be dropped without any effect, so that clients cannot fill the memory.
package limit

import (
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

// Limiter applies one mesh.RateLimit. Its methods may be called by several goroutines. They allocate only for a new
// client.
type Limiter struct {
	limit     mesh.RateLimit
	identity  Rate
	overrides map[mesh.ID]Rate

	mu       sync.Mutex // guards the fields below
	total    Bucket
	clients  Buckets[mesh.ID]
	overflow Bucket // shared by the clients beyond MaxBuckets
}

// Scope is the bound that refused a request; it labels metrics.
type Scope string

// The scopes. The zero Scope means no bound.
const (
	Total    Scope = "total"
	Identity Scope = "identity"
)

// New returns a limiter whose buckets are full. A client that several overrides name gets the rate of the first.
func New(l mesh.RateLimit) *Limiter {
	identity := newRate(l.Identity)
	out := &Limiter{
		limit: l, identity: identity, overrides: map[mesh.ID]Rate{}, total: Bucket{rate: newRate(l.Total)},
		overflow: Bucket{rate: identity},
	}
	for _, o := range l.Overrides {
		for _, id := range o.Identities {
			if _, named := out.overrides[id]; !named {
				out.overrides[id] = newRate(o.PerSecond)
			}
		}
	}
	return out
}

// Limit returns the value that the limiter was made from.
func (l *Limiter) Limit() mesh.RateLimit { return l.limit }

// Keeps reports whether the limiter was made from an equal value.
func (l *Limiter) Keeps(limit *mesh.RateLimit) bool { return reflect.DeepEqual(l.limit, *limit) }

// Take takes one request for a client at the Instant now. The client's identity is zero without mesh
// TLS. If the request is refused, scope is the exhausted bound, and wait is how long until one more request fits. A
// refused request takes nothing, so that a client which is too fast takes nothing from the others.
func (l *Limiter) Take(id mesh.ID, now clock.Instant) (scope Scope, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.client(id, now)
	if wait := c.Wait(now); wait > 0 {
		return Identity, wait
	}
	if wait := l.total.Wait(now); wait > 0 {
		return Total, wait
	}
	c.Take(now)
	l.total.Take(now)
	return "", 0
}

// client returns a client's bucket.
func (l *Limiter) client(id mesh.ID, now clock.Instant) *Bucket {
	if c := l.clients.Find(id); c != nil {
		return c
	}
	rate, ok := l.overrides[id]
	if !ok {
		rate = l.identity
	}
	if c := l.clients.Open(id, rate, now); c != nil {
		return c
	}
	return &l.overflow
}

// newRate allows one second's requests at once, and at least one. Source: Linkerd's proxy.
func newRate(perSecond float64) Rate {
	if perSecond <= 0 {
		return Rate{}
	}
	cost := time.Duration(math.Min(float64(time.Second)/perSecond, float64(math.MaxInt64/4)))
	return Rate{Cost: cost, Burst: max(time.Second, cost)}
}
