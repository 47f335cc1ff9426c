package authz

import (
	"net/netip"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
)

// authorizations is an indexed list. Clusters have thousands of authorizations, and a client that connects must not
// make the proxy walk through all of them. It is immutable.
type authorizations struct {
	list []authorization
	// The indexes of list, in order: those for named clients by name, those for others by network, and the rest. In the
	// rest, only the first of each kind can count. A short list has no maps, and all of it is the rest.
	byIdentity map[mesh.IdentityMatch][]int32
	byNetwork  map[netip.Prefix][]int32
	rest       []int32
	lengths    [2][]int                     // distinct prefix lengths of the keys of byNetwork, of IPv4 and of IPv6
	kinds      [mesh.AnyClients + 1][2]bool // kinds of clients in the list, without and with networks
}

// indexFrom is how many identities and networks a list must have before maps are cheaper than a linear search.
const indexFrom = 16

func newAuthorizations(in []mesh.Authorization) authorizations {
	a := authorizations{list: compileAuthorizations(in)}
	size := 0
	for i := range a.list {
		size += 1 + len(a.list[i].identities) + len(a.list[i].networks)
	}
	if size >= indexFrom {
		a.byIdentity, a.byNetwork = map[mesh.IdentityMatch][]int32{}, map[netip.Prefix][]int32{}
	}
	for i := range a.list {
		a.place(int32(i), &a.list[i])
	}
	return a
}

func (a *authorizations) place(i int32, one *authorization) {
	if a.byIdentity == nil {
		a.rest = append(a.rest, i)
		return
	}
	if one.clients > mesh.AnyClients {
		return // for nobody
	}
	kind := &a.kinds[one.clients][index(len(one.networks) > 0)]
	known := *kind
	*kind = true
	switch {
	case one.clients == mesh.NamedClients:
		for _, m := range one.identities {
			addPlace(a.byIdentity, m, i)
		}
	case len(one.networks) == 0 && known:
	case len(one.networks) == 0:
		a.rest = append(a.rest, i)
	default:
		for _, n := range one.networks {
			addPlace(a.byNetwork, n.net, i)
			if l := &a.lengths[family(n.net.Addr())]; !slices.Contains(*l, n.net.Bits()) {
				*l = append(*l, n.net.Bits())
			}
		}
	}
}

// addPlace adds index i to a key's list, once. Callers add in ascending order.
func addPlace[K comparable](places map[K][]int32, key K, i int32) {
	if p := places[key]; len(p) == 0 || p[len(p)-1] != i {
		places[key] = append(p, i)
	}
}

func family(a netip.Addr) int { return index(!a.Is4()) }

// first returns the first authorization of the list that allows the client; addr is canonical.
func (a *authorizations) first(id mesh.ID, addr netip.Addr) (ref mesh.Ref, ok bool) {
	best := int32(len(a.list))
	for places := range a.candidates(id, addr) {
		for _, i := range places {
			if i >= best {
				break
			}
			if one := &a.list[i]; one.takes(id) && one.reaches(addr) {
				best = i
				break
			}
		}
	}
	if int(best) == len(a.list) {
		return mesh.Ref{}, false
	}
	return a.list[best].ref, true
}

// candidates yields ordered lists of the indexes of all authorizations that may allow the client.
func (a *authorizations) candidates(id mesh.ID, addr netip.Addr) func(yield func([]int32) bool) {
	return func(yield func([]int32) bool) {
		if !yield(a.rest) {
			return
		}
		if len(a.byIdentity) > 0 && !id.IsZero() {
			for _, m := range patternsOf(id) {
				if p := a.byIdentity[m]; len(p) > 0 && !yield(p) {
					return
				}
			}
		}
		for _, bits := range a.lengths[family(addr)] {
			if net, err := addr.Prefix(bits); err == nil { // an invalid address is in no network
				if p := a.byNetwork[net]; len(p) > 0 && !yield(p) {
					return
				}
			}
		}
	}
}

// patternsOf returns every IdentityMatch that matches id.
func patternsOf(id mesh.ID) (out [8]mesh.IdentityMatch) {
	for i := range out {
		out[i] = mesh.IdentityMatch(id)
		if i&1 != 0 {
			out[i].TrustDomain = ""
		}
		if i&2 != 0 {
			out[i].Namespace = ""
		}
		if i&4 != 0 {
			out[i].ServiceAccount = ""
		}
	}
	return out
}

// takes reports whether any authorization of the list names clients with identity id, whatever their address.
func (a *authorizations) takes(id mesh.ID) bool {
	for _, i := range a.rest {
		if a.list[i].takes(id) {
			return true
		}
	}
	if len(a.byIdentity) > 0 && !id.IsZero() {
		for _, m := range patternsOf(id) {
			if len(a.byIdentity[m]) > 0 {
				return true
			}
		}
	}
	return a.kinds[mesh.AnyClients][1] || a.kinds[mesh.AuthenticatedClients][1] && !id.IsZero()
}
