package authz

import (
	"net/netip"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
)

// authorization is a compiled mesh.Authorization: its networks are canonical.
type authorization struct {
	ref        mesh.Ref
	clients    mesh.ClientKind
	identities []mesh.IdentityMatch
	networks   []network
}

type network struct {
	net    netip.Prefix
	except []netip.Prefix
}

func compileAuthorizations(list []mesh.Authorization) []authorization {
	out := make([]authorization, len(list))
	for i, a := range list {
		out[i] = authorization{ref: a.Ref, clients: a.Clients, identities: a.Identities}
		for _, n := range a.Networks {
			compiled := network{net: canonicalNetwork(n.Net)}
			for _, except := range n.Except {
				compiled.except = append(compiled.except, canonicalNetwork(except))
			}
			out[i].networks = append(out[i].networks, compiled)
		}
	}
	return out
}

// takes reports whether a names clients with identity id. A kind of client that this release does not know names
// nobody.
func (a *authorization) takes(id mesh.ID) bool {
	switch a.clients {
	case mesh.AnyClients:
		return true
	case mesh.AuthenticatedClients:
		return !id.IsZero()
	case mesh.NamedClients:
		return slices.ContainsFunc(a.identities, func(m mesh.IdentityMatch) bool { return m.Matches(id) })
	default:
		return false
	}
}

// reaches reports whether a includes clients at addr, which is canonical.
func (a *authorization) reaches(addr netip.Addr) bool {
	return len(a.networks) == 0 || slices.ContainsFunc(a.networks, func(n network) bool {
		return n.net.Contains(addr) && !containsAddr(n.except, addr)
	})
}

// canonicalNetwork returns an IPv4-mapped IPv6 network as IPv4, masked.
func canonicalNetwork(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// canonicalAddr returns an address without zone, and an IPv4-mapped one as IPv4: sockets report several forms.
func canonicalAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func containsAddr(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
