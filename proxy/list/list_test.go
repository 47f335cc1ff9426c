package list

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type item struct {
	n  int
	at Element[*item]
}

// Random pushes and removals leave what a slice would hold.
func TestListIsAQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var l List[*item]
	if l.First() != nil {
		t.Fatal("an empty list has a first value")
	}
	var want []*item
	for n := range 10_000 {
		switch {
		case rng.IntN(2) == 0:
			x := &item{n: n}
			l.Push(&x.at, x)
			want = append(want, x)
		case len(want) > 0:
			i := rng.IntN(len(want))
			x := want[i]
			want = slices.Delete(want, i, i+1)
			x.at.Remove()
			x.at.Remove() // of none changes nothing
			if x.at.Of() != nil {
				t.Fatal("a removed element is in a list")
			}
		}
		if l.Len() != len(want) || len(want) > 0 && (l.First() != want[0] || want[0].at.Of() != &l) {
			t.Fatalf("after %d steps: %d elements, first %v; want %d", n, l.Len(), l.First(), len(want))
		}
	}
	for i := range want {
		if got := l.First(); got != want[i] {
			t.Fatalf("element %d is %v, want %v", i, got, want[i])
		}
		l.First().at.Remove()
	}
}
