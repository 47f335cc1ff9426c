// Package authz decides which peers and requests a pod's ports accept. It owns the decisions by mesh.Inbound:
// authorizations, the six access policies, required identity, kubelet probes. It imports mesh, proxy/message,
// proxy/route and the standard library only. The one idea: a policy is an immutable value, a decision is a pure
// function of it and of what the connection proved, and anything unknown is denied.
package authz

import (
	"net/netip"
	"slices"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// Peer is what is known about the other side of a connection.
type Peer struct {
	ID   mesh.ID    // proved by mesh TLS; zero without it
	Addr netip.Addr // source address of the connection
}

// Policy is a compiled mesh.Inbound. It is immutable.
type Policy struct {
	inbound  *mesh.Inbound
	networks []netip.Prefix
	hosts    []netip.Addr
	ports    map[uint16]*Port
	// others are for ports that inbound.Ports does not name, by whether they are opaque and whether they require identity.
	others [2][2]*Port
}

// Port is the policy of one port. It is immutable.
type Port struct {
	policy         *Policy
	setting        mesh.PortPolicy
	server         mesh.Ref // what selects the port, or mesh's Kind "default" with the access policy's name
	authorizations authorizations
	routes         []guarded
	table          *route.Table // finds one of routes
}

// guarded is a route of a port with its own authorizations, which add to the port's.
type guarded struct {
	ref            mesh.Ref
	authorizations authorizations
}

// Compile returns the policy of a pod. hosts are the addresses of its node, from which the kubelet's probes come. The
// policy refers to in.
func Compile(in *mesh.Inbound, hosts []netip.Addr) *Policy {
	p := &Policy{inbound: in, ports: make(map[uint16]*Port, len(in.Ports))}
	for _, prefix := range in.ClusterNetworks {
		p.networks = append(p.networks, canonicalNetwork(prefix))
	}
	for _, host := range hosts {
		p.hosts = append(p.hosts, canonicalAddr(host))
	}
	for number := range in.Ports {
		p.ports[number] = p.compile(in.Port(number))
	}
	for opaque := range p.others {
		for requireIdentity := range p.others[opaque] {
			port := in.Default
			if opaque == 1 {
				port.Protocol = mesh.Opaque
			}
			port.RequireIdentity = port.RequireIdentity || requireIdentity == 1
			p.others[opaque][requireIdentity] = p.compile(port)
		}
	}
	return p
}

func (p *Policy) compile(setting mesh.PortPolicy) *Port {
	port := &Port{policy: p, setting: setting, server: setting.Server,
		authorizations: newAuthorizations(setting.Authorizations)}
	if port.server == (mesh.Ref{}) {
		port.server = own(string(setting.Policy))
	}
	routes := make([]mesh.Route, len(setting.Routes))
	for i, r := range setting.Routes {
		routes[i] = r.Route
		port.routes = append(port.routes, guarded{ref: r.Route.Ref, authorizations: newAuthorizations(r.Authorizations)})
	}
	port.table = route.CompileRoutes(routes)
	return port
}

// own returns the reference of something that is not a Kubernetes object; see mesh.Ref.
func own(name string) mesh.Ref { return mesh.Ref{Kind: "default", Name: name} }

// Port returns the policy of a port.
func (p *Policy) Port(number uint16) *Port {
	if port, ok := p.ports[number]; ok {
		return port
	}
	return p.others[index(p.inbound.OpaquePorts.Contains(number))][index(p.inbound.RequireIdentityPorts.Contains(number))]
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Declares reports whether the pod is known to serve a port: a container declares it, a Server selects it, or a probe
// uses it.
func (p *Policy) Declares(number uint16) bool {
	_, named := p.ports[number]
	return named || p.inbound.DeclaredPorts.Contains(number)
}

// Protocol returns what the port declares.
func (p *Port) Protocol() mesh.Protocol { return p.setting.Protocol }

// HTTPOnly reports whether the port must refuse opaque connections. They would bypass routes and rate limits; and on a
// port that is declared HTTP, the application may trust l5d-client-id. A rate limit has no effect on a port that is
// declared opaque, because its pod speaks no HTTP there.
func (p *Port) HTTPOnly() bool {
	switch p.setting.Protocol {
	case mesh.HTTP1, mesh.HTTP2:
		return true
	case mesh.Opaque:
		return len(p.routes) > 0
	default:
		return len(p.routes) > 0 || p.setting.RateLimit != nil
	}
}

// Server names the Server that selects the port; without one, mesh's Kind "default" and the access policy's name.
func (p *Port) Server() mesh.Ref { return p.server }

// HasServer reports whether a Server selects the port.
func (p *Port) HasServer() bool { return p.setting.Server != mesh.Ref{} }

// RateLimit returns the port's rate limit; nil for none.
func (p *Port) RateLimit() *mesh.RateLimit { return p.setting.RateLimit }

// RateLimits returns the rate limits of all ports.
func (p *Policy) RateLimits() (out []*mesh.RateLimit) {
	for _, port := range p.ports {
		if l := port.RateLimit(); l != nil {
			out = append(out, l)
		}
	}
	if l := p.inbound.Default.RateLimit; l != nil {
		out = append(out, l)
	}
	return out
}

// FromNode reports whether the peer is on the pod's own node, as its kubelet is.
func (p *Port) FromNode(peer Peer) bool { return p.policy.isHost(peer.Addr) }

func (p *Policy) inCluster(a netip.Addr) bool { return containsAddr(p.networks, canonicalAddr(a)) }

func (p *Policy) isHost(a netip.Addr) bool { return slices.Contains(p.hosts, canonicalAddr(a)) }
