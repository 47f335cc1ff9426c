package main

import (
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

func addresses(list []mesh.Endpoint) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Addr.String())
	}
	return out
}

func crowdOf(t *testing.T, n int) *crowd {
	t.Helper()
	c := &crowd{port: 80, identity: mesh.ID{TrustDomain: "cluster.local", Namespace: "bench", ServiceAccount: "server"}}
	if err := c.resize(n); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChangesTakeTheOldestAndBringANewOneInTurns(t *testing.T) {
	c := crowdOf(t, 2)
	for _, want := range [][]string{
		{"127.1.0.0:80", "127.1.0.1:80"}, {"127.1.0.1:80"}, {"127.1.0.1:80", "127.1.0.2:80"}, {"127.1.0.2:80"},
		{"127.1.0.2:80", "127.1.0.3:80"},
	} {
		if got := addresses(c.list); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		c.change()
	}
}

func TestListsThatWereGivenStay(t *testing.T) {
	c := crowdOf(t, 3)
	before := c.list
	want := slices.Clone(before)
	for range 10 {
		c.change()
	}
	if err := c.resize(1); err != nil {
		t.Fatal(err)
	}
	smaller := c.list
	wantSmaller := slices.Clone(smaller)
	if err := c.resize(5); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, want) || !slices.Equal(smaller, wantSmaller) {
		t.Error("a list changed after it was given")
	}
}

func TestEndpointsAreSortedAndTellPodsApart(t *testing.T) {
	c := crowdOf(t, 70_000)
	if !slices.IsSortedFunc(c.list, func(a, b mesh.Endpoint) int { return a.Addr.Compare(b.Addr) }) {
		t.Error("not sorted by address")
	}
	seen := map[string]bool{}
	for _, e := range c.list {
		seen[e.Pod.Name] = true
	}
	if len(seen) != len(c.list) {
		t.Errorf("%d names of %d pods", len(seen), len(c.list))
	}
}

func TestMoreThanThereAreAddressesIsRefused(t *testing.T) {
	if err := crowdOf(t, 2).resize(maxAddresses + 1); err == nil {
		t.Error("want an error")
	}
}
