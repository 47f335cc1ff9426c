package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// drawer draws the events of a small world in which names, addresses and references collide all the time.
type drawer interface {
	event() Event
	answers(s *Store, snap *Snapshot) map[query]Answer
}

// TestIncrementalEqualsFromScratch holds the indexes, the caches and their invalidation against a store that is built
// from scratch, as ADR 0017 promises. The first store gets random events and is asked after each of them. The second
// gets, of every object that is left, its own events in their order, but the objects in a random order, and is asked
// once. Both must give the same answers and outcomes: these depend on each object's own history, and on nothing else.
func TestIncrementalEqualsFromScratch(t *testing.T) {
	for name, world := range map[string]func(r *rand.Rand) drawer{
		"endpoints": func(r *rand.Rand) drawer { return &world{Rand: r, live: map[string]metav1.Object{}} },
		"access":    func(r *rand.Rand) drawer { return &accessWorld{Rand: r, live: map[objectKey]metav1.Object{}} },
		"routes": func(r *rand.Rand) drawer {
			return &routeWorld{Rand: r, live: map[objectKey]metav1.Object{}, mistakes: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				random := rand.New(rand.NewPCG(seed, 17))
				compareWithScratch(t, random, world(random))
			}
		})
	}
}

func compareWithScratch(t *testing.T, random *rand.Rand, w drawer) {
	t.Helper()
	const steps = 100
	s, outcomes := New(testConfig()), map[objectKey]Outcome{}
	histories := map[string][]Event{} // of what is left, by object
	var got map[query]Answer
	snap := BuildSnapshot(s)
	for range steps {
		e := w.event()
		if s.Apply(e).Snapshot {
			snap = BuildSnapshot(s)
		}
		got = w.answers(s, snap)
		collectOutcomes(s, outcomes)
		key := fmt.Sprintf("%T %s/%s", e.Object, e.Object.GetNamespace(), e.Object.GetName())
		if histories[key] = append(histories[key], e); e.Deleted {
			delete(histories, key)
		}
	}
	scratch, want := New(testConfig()), map[objectKey]Outcome{}
	for len(histories) > 0 {
		keys := slices.Sorted(maps.Keys(histories))
		key := keys[random.IntN(len(keys))]
		scratch.Apply(histories[key][0])
		if histories[key] = histories[key][1:]; len(histories[key]) == 0 {
			delete(histories, key)
		}
	}
	for q, want := range w.answers(scratch, BuildSnapshot(scratch)) {
		if !got[q].Equal(want) {
			t.Fatalf("%v: got\n%sfrom scratch\n%s", q, render(got[q]), render(want))
		}
	}
	collectOutcomes(scratch, want)
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Fatalf("outcomes (-from scratch +got):\n%s", diff)
	}
}

// collectOutcomes keeps the latest outcome of every object that is left.
func collectOutcomes(s *Store, into map[objectKey]Outcome) {
	for _, o := range s.Outcomes() {
		key := objectKey{o.Object.Group, o.Object.Kind,
			types.NamespacedName{Namespace: o.Object.Namespace, Name: o.Object.Name}}
		if into[key] = o; o.Gone {
			delete(into, key)
		}
	}
}
