package main

import (
	"fmt"
	"net/netip"
)

// Addresses of a cluster. Pod and Service ranges are the same in every cluster: they exist only inside its namespaces.
// The fabric joins nodes and host, so each cluster on a machine has its own piece of 198.18.0.0/15, the range that RFC
// 2544 sets aside for tests of network devices and that no network routes.
const (
	clusterDomain = "cluster.local"
	serviceRange4 = "10.96.0.0/16"
	serviceRange6 = "fd00:10:96::/112"
	podRange4     = "10.244.0.0/16"
	podRange6     = "fd00:10:244::/48"
	apiService    = "10.96.0.1"
	dnsService    = "10.96.0.10"
	apiPort       = 6443
	hostNumber    = 254 // the host's place in the fabric; nodes count from 1
	maxNodes      = 9
	maxClusters   = 64
)

// fabric is the network between the nodes of cluster id and the host.
type fabric struct{ id int }

func (f fabric) addr4(number int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(f.id), byte(number)}), 24)
}

func (f fabric) addr6(number int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("fd00:198:18:%x::%x/64", f.id, number))
}

// hostLink is the name of the interface on the host, which also claims the id: the kernel lets only one process create
// it.
func (f fabric) hostLink() string { return fmt.Sprintf("tulle%d", f.id) }

// cgroup is the folder below every cgroup hierarchy that holds the pods of node n; n = 0 is the folder of the whole
// cluster.
func (f fabric) cgroup(n int) string {
	if n == 0 {
		return fmt.Sprintf("/tulle-%d", f.id)
	}
	return fmt.Sprintf("/tulle-%d/%s", f.id, nodeName(n))
}

func (f fabric) apiURL() string { return fmt.Sprintf("https://%s:%d", f.addr4(1).Addr(), apiPort) }

func nodeName(n int) string { return fmt.Sprintf("node-%d", n) }

// zone names the zone of node n: zone-a, zone-b, …
func zone(n int) string { return "zone-" + string(rune('a'+n-1)) }

func pods4(n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", n)) }

func pods6(n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("fd00:10:244:%x::/64", n)) }
