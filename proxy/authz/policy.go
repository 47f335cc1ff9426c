// Package authz decides which peers and requests a pod's ports accept.
//
// It owns the verdict over mesh.Inbound: the six access policies, the demand for identity, kubelet probes. It imports mesh and the
// standard library only. The one idea: a policy is a value that never changes, a verdict is a pure function of it
// and of what the connection proved, and whatever is not understood is denied.
package authz

import (
	"net/netip"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
)

// Peer is what is known about the other side of a connection.
type Peer struct {
	ID   mesh.ID    // proved by mesh TLS; zero without
	Addr netip.Addr // where the connection comes from
}

// Verdict is the answer to a peer or a request.
type Verdict struct {
	Allow bool
	// Audited says that the peer was let in although an enforcing policy might not: log it and count it.
	Audited bool
	// Name is the authorization that allowed, as metrics call it: an access policy's name or "probe"; the policy's name on a denial.
	Name string
	// Reason is why not: one of the constants below, "" when allowed.
	Reason Reason
}

// Reason is a constant word for a denial; it labels metrics and stands in logs and in the answer to the peer.
type Reason string

// The reasons of a denial.
const (
	NoIdentity     Reason = "no_identity"     // the port wants mesh TLS
	OutsideCluster Reason = "outside_cluster" // the peer's address is in no cluster network
	Denied         Reason = "denied"          // the policy is deny, or one that this release does not know
)

// Explain returns the reason as a sentence for a person.
func (r Reason) Explain() string {
	switch r {
	case NoIdentity:
		return "this port accepts meshed clients only (mutual TLS with an identity)"
	case OutsideCluster:
		return "this port accepts clients from the cluster's networks only"
	default:
		return "this port's policy denies all clients"
	}
}

// ProbeName is what metrics call the authorization of a kubelet's probe.
const ProbeName = "probe"

// Policy is a compiled mesh.Inbound. It is immutable.
type Policy struct {
	inbound  *mesh.Inbound
	networks []netip.Prefix
	hosts    []netip.Addr
}

// Port is the policy of one port. It is immutable.
type Port struct {
	policy  *Policy
	setting mesh.PortPolicy
}

// Compile returns the policy for a pod on the node that has the addresses hosts: where its kubelet's probes come from. It keeps in.
func Compile(in *mesh.Inbound, hosts []netip.Addr) *Policy {
	p := &Policy{inbound: in}
	for _, prefix := range in.ClusterNetworks {
		p.networks = append(p.networks, unmap(prefix))
	}
	for _, host := range hosts {
		p.hosts = append(p.hosts, canonical(host))
	}
	return p
}

// unmap turns an IPv4 network that is written as IPv4-mapped IPv6 into what it means.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// canonical gives one form to an address that sockets show in several: IPv4-mapped, with a zone.
func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Port returns the policy of a port.
func (p *Policy) Port(number uint16) Port { return Port{policy: p, setting: p.inbound.Port(number)} }

// Protocol returns what the port declares.
func (p Port) Protocol() mesh.Protocol { return p.setting.Protocol }

// Name returns the name of the port's access policy, for metrics.
func (p Port) Name() string { return string(p.setting.Policy) }

// Decide answers a connection whose requests cannot be told apart.
func (p Port) Decide(peer Peer) Verdict {
	v := Verdict{Name: string(p.setting.Policy)}
	if p.setting.RequireIdentity && peer.ID.IsZero() {
		v.Reason = NoIdentity
		return v
	}
	switch p.setting.Policy {
	case mesh.AllUnauthenticated:
		v.Allow = true
	case mesh.Audit:
		v.Allow, v.Audited = true, true
	case mesh.AllAuthenticated:
		v.check(!peer.ID.IsZero(), NoIdentity)
	case mesh.ClusterUnauthenticated:
		v.check(p.policy.inCluster(peer.Addr), OutsideCluster)
	case mesh.ClusterAuthenticated:
		v.check(!peer.ID.IsZero(), NoIdentity)
		if v.Allow {
			v.check(p.policy.inCluster(peer.Addr), OutsideCluster)
		}
	default: // deny, and whatever a newer control plane may say
		v.Reason = Denied
	}
	return v
}

func (v *Verdict) check(ok bool, otherwise Reason) {
	v.Allow, v.Reason = ok, ""
	if !ok {
		v.Reason = otherwise
	}
}

func (p *Policy) inCluster(a netip.Addr) bool {
	a = canonical(a)
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// DecideRequest answers one HTTP request. path is the request target's path, with or without a query. A probe of the pod's own
// kubelet is allowed whatever the policy says, unless it is for a path that is not exactly one of the pod's probes.
func (p Port) DecideRequest(peer Peer, method, path []byte) Verdict {
	if len(p.setting.ProbePaths) > 0 && string(method) == "GET" && p.isProbe(path) && p.policy.isHost(peer.Addr) {
		return Verdict{Allow: true, Name: ProbeName}
	}
	return p.Decide(peer)
}

func (p Port) isProbe(path []byte) bool {
	for i, c := range path {
		if c == '?' {
			path = path[:i]
			break
		}
	}
	for _, probe := range p.setting.ProbePaths {
		if string(path) == probe {
			return true
		}
	}
	return false
}

func (p *Policy) isHost(a netip.Addr) bool { return slices.Contains(p.hosts, canonical(a)) }
