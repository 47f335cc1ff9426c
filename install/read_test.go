package install

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNetworks(t *testing.T) {
	got, err := (&Values{ClusterNetworks: "10.1.2.3/8, fd00::/8"}).Networks()
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil ||
		diff != "" {
		t.Errorf("error %v, networks (-want +got):\n%s", err, diff)
	}
	if _, err := (&Values{ClusterNetworks: "10.0.0.0"}).Networks(); err == nil {
		t.Error("an address is a network, want an error")
	}
}
