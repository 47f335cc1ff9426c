package main

import (
	"net/netip"
	"testing"
)

func TestNoTwoAddressesOfAFabricAreTheSame(t *testing.T) {
	seen := map[netip.Addr]string{}
	for id := range maxClusters {
		f := fabric{id: id}
		for _, number := range []int{1, 2, maxNodes, hostNumber} {
			for _, p := range []netip.Prefix{f.addr4(number), f.addr6(number)} {
				if other, taken := seen[p.Addr()]; taken {
					t.Fatalf("fabric %d, number %d: address %s belongs to %s", id, number, p, other)
				}
				seen[p.Addr()] = p.String()
			}
		}
		if got, limit := len(f.hostLink()), 15; got > limit {
			t.Fatalf("interface name %q: %d characters, the kernel takes %d", f.hostLink(), got, limit)
		}
	}
}

func TestPodRangesOfNodesAreApartAndWithinTheCluster(t *testing.T) {
	whole4, whole6 := netip.MustParsePrefix(podRange4), netip.MustParsePrefix(podRange6)
	for a := 1; a <= maxNodes; a++ {
		if !whole4.Overlaps(pods4(a)) || !whole6.Overlaps(pods6(a)) {
			t.Errorf("node %d: %s and %s are outside of %s and %s", a, pods4(a), pods6(a), whole4, whole6)
		}
		for b := a + 1; b <= maxNodes; b++ {
			if pods4(a).Overlaps(pods4(b)) || pods6(a).Overlaps(pods6(b)) {
				t.Errorf("nodes %d and %d share pod addresses", a, b)
			}
		}
	}
}

func TestZonesDifferByNode(t *testing.T) {
	if got, want := zone(1)+" "+zone(3), "zone-a zone-c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
