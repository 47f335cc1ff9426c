// Package limit bounds the rate of requests, for all clients together and for each of them.
//
// It owns the buckets of a mesh.RateLimit. It imports mesh and the standard library only. The one idea: a bucket is one number, the time
// at which it will be as if nobody had ever asked (GCRA); a bucket whose time has passed can be forgotten without anybody noticing, so
// that clients cannot fill the memory.
package limit

import (
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// MaxBuckets bounds the clients that are told apart. When so many are busy at once, the ones that come beyond share a bucket.
const MaxBuckets = 4096

// Limiter keeps one mesh.RateLimit. Its methods may be called by several goroutines and allocate only for a client that is new.
type Limiter struct {
	limit     mesh.RateLimit
	identity  rate
	overrides map[mesh.ID]rate

	mu      sync.Mutex // guards the fields below
	total   bucket
	clients map[mesh.ID]*client
	crowd   client // of the clients beyond MaxBuckets
	sweep   time.Duration
}

type client struct {
	rate rate
	bucket
}

// Scope says which bound a request ran into; it labels metrics.
type Scope string

// The scopes. The zero Scope is none.
const (
	Total    Scope = "total"
	Identity Scope = "identity"
)

// New returns a limiter whose buckets are full. A client named by several overrides has the first one's rate.
func New(l mesh.RateLimit) *Limiter {
	out := &Limiter{
		limit: l, identity: newRate(l.Identity), overrides: map[mesh.ID]rate{}, clients: map[mesh.ID]*client{},
		crowd: client{rate: newRate(l.Identity)},
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

// Limit returns what the limiter was made from.
func (l *Limiter) Limit() mesh.RateLimit { return l.limit }

// Keeps reports whether the limiter was made from a value like limit.
func (l *Limiter) Keeps(limit *mesh.RateLimit) bool { return reflect.DeepEqual(l.limit, *limit) }

// Take asks for one request of a client, whose identity is zero without mesh TLS, at the time now of a monotonic clock. If it may not
// be, scope is the bound that is used up, and wait how long until one more request fits. A refused request uses nothing up, so
// that a client which is too fast takes nothing from the others.
func (l *Limiter) Take(id mesh.ID, now time.Duration) (scope Scope, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.client(id, now)
	if wait := c.wait(c.rate, now); wait > 0 {
		return Identity, wait
	}
	total := newRate(l.limit.Total)
	if wait := l.total.wait(total, now); wait > 0 {
		return Total, wait
	}
	c.take(c.rate, now)
	l.total.take(total, now)
	return "", 0
}

// client returns a client's bucket.
func (l *Limiter) client(id mesh.ID, now time.Duration) *client {
	if c, ok := l.clients[id]; ok {
		return c
	}
	r, ok := l.overrides[id]
	if !ok {
		r = l.identity
	}
	if len(l.clients) >= MaxBuckets {
		l.forget(now)
	}
	if len(l.clients) >= MaxBuckets {
		return &l.crowd
	}
	c := &client{rate: r}
	l.clients[id] = c
	return c
}

// forget drops the buckets that are full. It looks at all of them, so it does at most once a second.
func (l *Limiter) forget(now time.Duration) {
	if l.sweep > now {
		return
	}
	l.sweep = now + time.Second
	for id, c := range l.clients {
		if c.full <= now {
			delete(l.clients, id)
		}
	}
}

// rate is how much time one request costs, and how much may be spent at once. The zero rate costs nothing.
type rate struct{ cost, burst time.Duration }

// newRate lets a second's worth of requests come at once, and one at least. Source: Linkerd's proxy.
func newRate(perSecond float64) rate {
	if perSecond <= 0 {
		return rate{}
	}
	cost := time.Duration(math.Min(float64(time.Second)/perSecond, float64(math.MaxInt64/4)))
	return rate{cost: cost, burst: max(time.Second, cost)}
}

// bucket is the time at which it is full, in the generic cell rate algorithm's terms the theoretical arrival time.
type bucket struct{ full time.Duration }

// wait returns how long it takes until a request fits; 0 or less if it does now.
func (b *bucket) wait(r rate, now time.Duration) time.Duration {
	if r.cost == 0 {
		return 0 // whoever asks, and in whatever order: requests of several connections bring times that go back and forth
	}
	return max(b.full, now) + r.cost - r.burst - now
}

func (b *bucket) take(r rate, now time.Duration) { b.full = max(b.full, now) + r.cost }
