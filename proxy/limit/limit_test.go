package limit

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

func id(name string) mesh.ID {
	return mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: name}
}

// run takes requests for the clients, each at its own rate, for a time. It returns how many each was allowed.
func run(l *Limiter, length time.Duration, perSecond map[mesh.ID]int) map[mesh.ID]int {
	got := map[mesh.ID]int{}
	for now := clock.Instant(0); now < clock.Instant(length); now = now.Add(time.Millisecond) {
		for id, n := range perSecond {
			for range n / 1000 {
				if scope, _ := l.Take(id, now); scope == "" {
					got[id]++
				}
			}
			if n < 1000 && now%clock.Instant(time.Second/time.Duration(n)) == 0 {
				if scope, _ := l.Take(id, now); scope == "" {
					got[id]++
				}
			}
		}
	}
	return got
}

func TestRates(t *testing.T) {
	a, b, plain := id("a"), id("b"), mesh.ID{}
	override := []mesh.RateOverride{{Identities: []mesh.ID{b}, PerSecond: 50}, {Identities: []mesh.ID{b}, PerSecond: 1}}
	for name, tc := range map[string]struct {
		limit mesh.RateLimit
		ask   map[mesh.ID]int // per second, for 10 s
		want  map[mesh.ID]int // one second's requests at once, then the rate
	}{
		"no bounds":            {mesh.RateLimit{}, map[mesh.ID]int{a: 2000}, map[mesh.ID]int{a: 20000}},
		"total":                {mesh.RateLimit{Total: 10}, map[mesh.ID]int{a: 1000}, map[mesh.ID]int{a: 110}},
		"slower than the rate": {mesh.RateLimit{Total: 10}, map[mesh.ID]int{a: 5}, map[mesh.ID]int{a: 50}},
		"each identity": {mesh.RateLimit{Identity: 10}, map[mesh.ID]int{a: 1000, b: 1000},
			map[mesh.ID]int{a: 110, b: 110}},
		"clients without identity are one": {mesh.RateLimit{Identity: 10}, map[mesh.ID]int{plain: 1000},
			map[mesh.ID]int{plain: 110}},
		"an override, and the first counts": {mesh.RateLimit{Identity: 10, Overrides: override},
			map[mesh.ID]int{a: 1000, b: 1000}, map[mesh.ID]int{a: 110, b: 550}},
		"an override without identity limit": {mesh.RateLimit{Overrides: override}, map[mesh.ID]int{a: 1000, b: 1000},
			map[mesh.ID]int{a: 10000, b: 550}},
		"less than one a second": {mesh.RateLimit{Total: 0.5}, map[mesh.ID]int{a: 1000}, map[mesh.ID]int{a: 5}},
		"a flood takes nothing from others": {mesh.RateLimit{Total: 30, Identity: 10}, map[mesh.ID]int{a: 5000, b: 10},
			map[mesh.ID]int{a: 110, b: 100}},
	} {
		got := run(New(tc.limit), 10*time.Second, tc.ask)
		for id, want := range tc.want {
			if d := got[id] - want; d < -1 || d > 1 {
				t.Errorf("%s: %v was let %d requests, want %d", name, id, got[id], want)
			}
		}
	}
}

func TestWaitIsEnough(t *testing.T) {
	for _, l := range []mesh.RateLimit{{Total: 3}, {Identity: 3}, {Total: 0.25}} {
		limiter := New(l)
		now := clock.Instant(time.Hour)
		for range 20 {
			scope, wait := limiter.Take(id("a"), now)
			if scope == "" {
				continue
			}
			if again, _ := limiter.Take(id("a"), now.Add(wait-1)); again == "" {
				t.Errorf("%+v: a request fits before its wait of %v is over", l, wait)
			}
			now = now.Add(wait)
			if again, left := limiter.Take(id("a"), now); again != "" {
				t.Errorf("%+v: after its wait a request does not fit for another %v", l, left)
			}
		}
	}
}

func TestClientsAreBounded(t *testing.T) {
	l := New(mesh.RateLimit{Identity: 1})
	for i := range MaxBuckets {
		l.Take(id(fmt.Sprint(i)), 0)
	}
	if scope, _ := l.Take(id("late"), 0); scope != "" {
		t.Fatal("the first client beyond the bound is refused")
	}
	if scope, _ := l.Take(id("later"), 0); scope != Identity {
		t.Error("clients beyond the bound do not share a bucket")
	}
	if n := l.clients.Len(); n != MaxBuckets {
		t.Errorf("%d buckets, want %d", n, MaxBuckets)
	}
	if scope, _ := l.Take(id("later"), clock.Instant(2*time.Second)); scope != "" || l.clients.Len() != 1 {
		t.Errorf("buckets that are full again are kept: %d, %q", l.clients.Len(), scope)
	}
}

func TestTakeAllocatesNothing(t *testing.T) {
	l, a := New(mesh.RateLimit{Total: 1e6, Identity: 1e6}), id("a")
	now := clock.Instant(0)
	if n := alloctest.Count(t, 1000, func() { now = now.Add(time.Microsecond); l.Take(a, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	l, a := New(mesh.RateLimit{Total: 1e6, Identity: 1e6}), id("a")
	now := clock.Instant(0)
	for b.Loop() {
		now = now.Add(time.Microsecond)
		l.Take(a, now)
	}
}

// Requests of several connections get their time when their heads arrive, and are counted later. So times go back and
// forth.
func TestTimesOutOfOrder(t *testing.T) {
	a := id("a")
	for name, l := range map[string]mesh.RateLimit{
		"no bound on all":           {Identity: 1000},
		"no bound on each":          {Total: 1000},
		"no bound on some":          {Total: 1000, Identity: 1, Overrides: []mesh.RateOverride{{Identities: []mesh.ID{a}}}},
		"more than can be measured": {Total: 1e12, Identity: 1e12},
	} {
		limiter := New(l)
		for _, now := range []clock.Instant{clock.Instant(2 * time.Second), clock.Instant(2*time.Second - time.Millisecond)} {
			if scope, wait := limiter.Take(a, now); scope != "" {
				t.Errorf("%s: at %v refused by %s for %v", name, now, scope, wait)
			}
		}
	}
}

func TestBuckets(t *testing.T) {
	rate := Rate{Cost: time.Second, Burst: 2 * time.Second}
	var b Buckets[int]
	if b.Find(1) != nil || b.Find(1).Wait(0) > 0 {
		t.Error("a key that nobody used has no full bucket")
	}
	for range 3 {
		b.Open(1, rate, 0).Take(0) // the third key does not fit
	}
	for now, want := range map[time.Duration]time.Duration{0: 2 * time.Second, time.Second: time.Second,
		2 * time.Second: 0} {
		if got := b.Find(1).Wait(clock.Instant(now)); got != want {
			t.Errorf("at %v: wait is %v, want %v", now, got, want)
		}
	}
	for key := range 2 * MaxBuckets {
		b.Open(key, rate, 0).Take(0)
	}
	if got := b.Len(); got != MaxBuckets || b.Open(-1, rate, 0) != nil {
		t.Errorf("%d buckets, want %d and no more", got, MaxBuckets)
	}
	if b.Open(-1, rate, clock.Instant(time.Minute)) == nil || b.Len() != 1 {
		t.Errorf("%d buckets after they are full again, want one", b.Len())
	}
}
