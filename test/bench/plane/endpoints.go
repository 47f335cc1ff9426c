package main

import (
	"fmt"
	"net/netip"

	"github.com/tulle-mesh/tulle/mesh"
)

// crowd is the endpoints of the Service, sorted by address: a window that slides over the addresses from 127.1.0.0 on,
// each a pod of its own that never comes back. It is not safe for several goroutines; the lists that it gave
// stay as they are.
type crowd struct {
	port     uint16
	identity mesh.ID
	size     int // how many there are to be
	next     int // the address that comes next
	list     []mesh.Endpoint
}

// maxAddresses is how many there are from 127.1.0.0 to 127.254.255.255.
const maxAddresses = 254 << 16

// resize makes it n endpoints: the last go, or new ones come.
func (c *crowd) resize(n int) error {
	if n < 0 || c.next+n-len(c.list) > maxAddresses {
		return fmt.Errorf("%d endpoints: want 0 to %d", n, maxAddresses-c.next+len(c.list))
	}
	c.size = n
	if n < len(c.list) {
		c.list = append([]mesh.Endpoint(nil), c.list[:n]...) // what comes next must not be written over what was given away
	}
	for len(c.list) < n {
		c.add()
	}
	return nil
}

// change is one event: in turns, the oldest endpoint goes, and a new one comes.
func (c *crowd) change() {
	switch {
	case len(c.list) >= c.size && c.size > 0:
		c.list = c.list[1:]
	case c.next < maxAddresses:
		c.add()
	}
}

func (c *crowd) add() {
	c.list = append(c.list, c.endpoint(c.next))
	c.next++
}

// endpoint describes a pod as the controller would.
func (c *crowd) endpoint(i int) mesh.Endpoint {
	const workload, template = "app", "6d4cf56db6"
	return mesh.Endpoint{
		Addr:     netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)}), c.port),
		Identity: c.identity, Weight: 1, Zone: fmt.Sprint("zone-", i%3), Local: i%3 == 0,
		Pod: mesh.PodRef{
			Namespace: c.identity.Namespace, Name: fmt.Sprintf("%s-%s-%05d", workload, template, i),
			ServiceAccount: c.identity.ServiceAccount,
			OwnerKind:      "deployment", OwnerName: workload, PodTemplateHash: template,
			ControlPlaneNS: mesh.ControlPlaneNamespace,
		},
	}
}
