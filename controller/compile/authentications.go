package compile

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// MaxClientEntries bounds the identities and the networks of one object: each of its pods' proxies gets them all.
const MaxClientEntries = 4096

// Authentication is what a client must show: the identities of a MeshTLSAuthentication or the networks of a
// NetworkAuthentication.
type Authentication struct {
	Identities []mesh.IdentityMatch
	Networks   []mesh.Network
}

func ParseMeshTLSAuthentication(spec *v1alpha1.MeshTLSAuthenticationSpec, namespace string,
	trustDomain string) (out Authentication, f Findings) {
	out.Identities = parseIdentities(spec.Identities, "spec.identities", trustDomain, &f)
	tooMany(len(spec.IdentityRefs), "spec.identityRefs", &f)
	for i, r := range spec.IdentityRefs {
		path := fmt.Sprintf("spec.identityRefs[%d]", i)
		switch m := (mesh.IdentityMatch{TrustDomain: trustDomain, Namespace: cmp.Or(r.Namespace, namespace)}); {
		case !isCore(r.Group):
			f.invalid(path+".group", fmt.Sprintf("%q has no identities: leave it out", r.Group))
		case r.Kind == "ServiceAccount":
			m.ServiceAccount = r.Name
			out.Identities = append(out.Identities, m)
		case r.Kind == "Namespace":
			m.Namespace = cmp.Or(r.Name, m.Namespace)
			out.Identities = append(out.Identities, m)
		default:
			f.invalid(path+".kind", fmt.Sprintf("%q: want ServiceAccount or Namespace", r.Kind))
		}
	}
	if len(out.Identities) == 0 && !f.Has(Invalid) {
		f.invalid("spec", "names no client: want identities or identityRefs")
	}
	return out, f
}

func tooMany(n int, path string, f *Findings) bool {
	if n > MaxClientEntries {
		f.invalid(path, fmt.Sprintf("has %d elements: %d is the most", n, MaxClientEntries))
	}
	return n > MaxClientEntries
}

// parseIdentities reads patterns. Linkerd's users also write "*." and the trust domain for everybody in it.
func parseIdentities(patterns []string, path string, trustDomain string, f *Findings) []mesh.IdentityMatch {
	if tooMany(len(patterns), path, f) {
		return nil
	}
	var out []mesh.IdentityMatch
	for i, text := range patterns {
		if text == "*."+trustDomain {
			out = append(out, mesh.IdentityMatch{TrustDomain: trustDomain})
			continue
		}
		m, err := mesh.ParseIdentityMatch(text)
		if err != nil {
			f.invalid(fmt.Sprintf("%s[%d]", path, i), err)
			continue
		}
		out = append(out, m)
	}
	return out
}

// SetIdentities sets an Authorization's Clients. If one of the identities matches every client, the others mean
// nothing.
func SetIdentities(a *mesh.Authorization, identities []mesh.IdentityMatch) {
	a.Clients, a.Identities = mesh.NamedClients, identities
	for _, m := range identities {
		if m == (mesh.IdentityMatch{}) {
			a.Clients, a.Identities = mesh.AuthenticatedClients, nil
			return
		}
	}
}

func ParseNetworkAuthentication(spec *v1alpha1.NetworkAuthenticationSpec) (out Authentication, f Findings) {
	out.Networks = parseNetworks(spec.Networks, "spec.networks", &f)
	if len(out.Networks) == 0 && !f.Has(Invalid) {
		f.invalid("spec.networks", "names no network")
	}
	return out, f
}

func parseNetworks(in []v1alpha1.Network, path string, f *Findings) []mesh.Network {
	all := len(in)
	for _, n := range in {
		all += len(n.Except)
	}
	if tooMany(all, path, f) {
		return nil
	}
	var out []mesh.Network
	for i, n := range in {
		path := fmt.Sprintf("%s[%d]", path, i)
		net, err := parseNetwork(n.CIDR)
		if err != nil {
			f.invalid(path+".cidr", err)
			continue
		}
		m := mesh.Network{Net: net}
		for j, text := range n.Except {
			except, err := parseNetwork(text)
			if err == nil {
				err = checkExcept(net, except)
			}
			if err != nil {
				f.invalid(fmt.Sprintf("%s.except[%d]", path, j), err)
				continue
			}
			m.Except = append(m.Except, except)
		}
		out = append(out, m)
	}
	return out
}

// checkExcept refuses an exception that is a mistake for certain: one that leaves nothing, or takes nothing away.
func checkExcept(net, except netip.Prefix) error {
	switch {
	case except.Bits() <= net.Bits() && except.Overlaps(net):
		return fmt.Errorf("%s leaves nothing of %s", except, net)
	case !except.Overlaps(net):
		return fmt.Errorf("%s is not part of %s", except, net)
	}
	return nil
}

// parseNetwork reads a network or one address. An IPv4 address that is written as IPv6 is IPv4: clients are compared
// unmapped.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		addr, single := netip.ParseAddr(s)
		if single != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: want a network such as 10.0.0.0/8 or an address", s)
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New("a network of IPv4 addresses in IPv6 form must have 96 bits at least")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// isCore reports whether group is the core group's name, in either spelling.
func isCore(group string) bool { return group == "" || group == "core" }
