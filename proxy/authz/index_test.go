package authz

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// world draws authorizations and clients from few names and networks, so that they meet.
type world struct{ *rand.Rand }

func (w world) name(s string) string { return []string{"", s + "-1", s + "-2", s + "-3"}[w.IntN(4)] }

func (w world) addr() netip.Addr {
	switch w.IntN(8) {
	case 0:
		return netip.Addr{}
	case 1, 2:
		return netip.MustParseAddr(fmt.Sprintf("fd00::%x:%x", w.IntN(3), w.IntN(3)))
	case 3:
		return netip.MustParseAddr(fmt.Sprintf("::ffff:10.0.%d.%d", w.IntN(3), w.IntN(3)))
	default:
		return netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", w.IntN(3), w.IntN(3)))
	}
}

func (w world) prefix() netip.Prefix {
	a := w.addr()
	for !a.IsValid() {
		a = w.addr()
	}
	return netip.PrefixFrom(a, w.IntN(a.BitLen()+1))
}

func (w world) authorization(i int) mesh.Authorization {
	// 3 is of a later release
	a := mesh.Authorization{Ref: mesh.Ref{Name: fmt.Sprint(i)}, Clients: mesh.ClientKind(w.IntN(4))}
	for range w.IntN(3) {
		a.Identities = append(a.Identities, mesh.IdentityMatch{TrustDomain: w.name("td"), Namespace: w.name("ns"),
			ServiceAccount: w.name("sa")})
	}
	for range w.IntN(3) {
		n := mesh.Network{Net: w.prefix()}
		for range w.IntN(2) {
			n.Except = append(n.Except, w.prefix())
		}
		a.Networks = append(a.Networks, n)
	}
	return a
}

// TestIndexAgreesWithTheList compares what is found in maps with what looking at all of a list finds, and the reason of
// a denial.
func TestIndexAgreesWithTheList(t *testing.T) {
	w := world{rand.New(rand.NewPCG(7, 9))}
	counts := map[string]int{}
	for range 3000 {
		var in []mesh.Authorization
		for i := range 1 + w.IntN(17) {
			in = append(in, w.authorization(i))
		}
		list := newAuthorizations(in)
		for range 8 {
			id := mesh.ID{TrustDomain: w.name("td"), Namespace: w.name("ns"), ServiceAccount: w.name("sa")}
			if id.TrustDomain == "" || id.Namespace == "" || id.ServiceAccount == "" {
				id = mesh.ID{}
			}
			addr := canonicalAddr(w.addr())
			var want mesh.Ref
			allowed, taken := false, false
			for i := range list.list {
				a := &list.list[i]
				taken = taken || a.takes(id)
				if !allowed && a.takes(id) && a.reaches(addr) {
					want, allowed = a.ref, true
				}
			}
			got, ok := list.first(id, addr)
			if got != want || ok != allowed || list.takes(id) != taken {
				t.Fatalf("%v from %v: got %v, %v, %v, want %v, %v, %v, of %+v", id, addr, got, ok, list.takes(id), want, allowed,
					taken, in)
			}
			counts[fmt.Sprint(list.byIdentity != nil, allowed, taken)]++
		}
	}
	for _, indexed := range []bool{false, true} {
		for _, seen := range []string{"true true", "false true", "false false"} {
			if key := fmt.Sprint(indexed, " ", seen); counts[key] < 100 {
				t.Errorf("indexed, allowed, taken = %s: drawn %d times", key, counts[key])
			}
		}
	}
}
