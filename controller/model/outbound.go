package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// service answers for a ClusterIP.
func (r *resolver) service(svc *compile.Service) *mesh.Outbound {
	number := r.q.Target.Addr.Port()
	out := &mesh.Outbound{
		Kind:    mesh.ToService,
		Service: mesh.ServiceRef{Namespace: svc.Namespace, Name: svc.Name, Port: number},
	}
	port, ok := svc.Port(number)
	if !ok {
		out.Kind = mesh.UndefinedPort
		return out
	}
	out.Authority = r.store.authority(out.Service)
	out.Endpoints, out.Protocol = r.endpoints(svc, port, r.v4())
	r.route(out, svc, port)
	return out
}

// authority is the name by which the port is known to its clients.
func (s *Store) authority(ref mesh.ServiceRef) string {
	return fmt.Sprintf("%s.%s.svc.%s:%d", ref.Name, ref.Namespace, s.config.ClusterDomain, ref.Port)
}

// endpoints returns the endpoints of a Service's port for the client, of one address family and sorted by address, and
// the protocol that is declared for the port.
func (r *resolver) endpoints(svc *compile.Service, port compile.ServicePort, v4 bool) ([]mesh.Endpoint, mesh.Protocol) {
	found := r.candidates(svc, port, v4)
	found = r.near(svc, r.usable(svc, found))
	protocol := r.serviceProtocol(svc, port, found)
	out := make([]mesh.Endpoint, 0, len(found))
	for _, c := range found {
		out = append(out, r.endpoint(c))
	}
	slices.SortFunc(out, func(a, b mesh.Endpoint) int { return a.Addr.Compare(b.Addr) })
	return slices.CompactFunc(out, func(a, b mesh.Endpoint) bool { return a.Addr == b.Addr }), protocol
}

// v4 reports whether the target is an IPv4 address.
func (r *resolver) v4() bool { return r.q.Target.Addr.Addr().Is4() }

// candidate is an endpoint of a slice with the port it serves the target on and the pod it is, if it is one.
type candidate struct {
	*compile.Endpoint
	port uint16
	pod  *compile.Pod
}

// candidates returns the endpoints of the Service's port that have the address family. An endpoint whose pod is not
// where the slice says is left out: the slice is older than the pod's end or newer than its start, and the address may
// be somebody else's.
func (r *resolver) candidates(svc *compile.Service, port compile.ServicePort, v4 bool) []candidate {
	var out []candidate
	for _, sl := range r.store.slicesByService[svc.NamespacedName] {
		number, ok := sl.PortNamed(port.Name)
		if !ok {
			continue
		}
		for i := range sl.Endpoints {
			e := &sl.Endpoints[i]
			if e.Addr.Is4() != v4 {
				continue
			}
			if p, ok := r.store.podOf(e); ok {
				out = append(out, candidate{e, number, p})
			}
		}
	}
	return out
}

// podOf returns the pod behind an endpoint, nil if there is none. What the endpoint claims is checked against the pods
// themselves, because anybody may write a slice that names somebody else's address: identity is that of the pod which
// has the address. ok is false if the claim does not hold.
func (s *Store) podOf(e *compile.Endpoint) (p *compile.Pod, ok bool) {
	if e.Pod == (types.NamespacedName{}) {
		return s.podAt(e.Addr), true
	}
	p = s.pods[e.Pod]
	if p == nil || e.UID != "" && p.UID != e.UID || !slices.Contains(p.IPs, e.Addr) {
		return nil, false
	}
	if !p.HostNetwork && s.podAt(e.Addr) != p {
		return nil, false
	}
	return p, true
}

func (r *resolver) endpoint(c candidate) mesh.Endpoint {
	e := mesh.Endpoint{Addr: netip.AddrPortFrom(c.Addr, c.port), Weight: 1, Zone: c.Zone}
	if e.Zone == "" {
		e.Zone = r.snap.zones[c.Node]
	}
	r.describe(&e, c.pod)
	return e
}

// describe completes an endpoint by the pod behind it.
func (r *resolver) describe(e *mesh.Endpoint, p *compile.Pod) {
	if p != nil {
		e.Pod = p.Ref
		e.Identity = p.Identity(e.Addr.Port(), r.store.config.TrustDomain)
		e.Protocol = r.podProtocol(p, e.Addr.Port())
		if e.Zone == "" {
			e.Zone = r.snap.zones[p.Node]
		}
	}
	e.Local = e.Zone != "" && e.Zone == r.q.Zone
}

// serviceProtocol follows the documented precedence: the Service's appProtocol, its annotation, the annotations of its
// pods, the namespace's, the default list. Where pods disagree, as in the middle of a roll-out, opaque wins: it is
// right for all of them.
func (r *resolver) serviceProtocol(svc *compile.Service, port compile.ServicePort, found []candidate) mesh.Protocol {
	if protocol, ok := svc.DeclaredProtocol(port); ok {
		return protocol
	}
	podsDecide := len(found) > 0
	for _, c := range found {
		if c.pod != nil && r.podProtocol(c.pod, c.port) == mesh.Opaque {
			return mesh.Opaque
		}
		podsDecide = podsDecide && c.pod != nil && r.podDecides(c.pod, c.port)
	}
	if podsDecide {
		return mesh.Detect
	}
	return compile.OpaqueIf(r.snap.defaults(svc.Namespace).opaqueOf(svc.PortsNamed).Contains(port.Port))
}

// pod answers for a pod's own address: a headless Service's endpoint, an instance of a StatefulSet, or an address an
// application learned in another way.
func (r *resolver) pod(p *compile.Pod) *mesh.Outbound {
	e := mesh.Endpoint{Addr: r.q.Target.Addr, Weight: 1}
	r.describe(&e, p)
	protocol := e.Protocol
	if declared, ok := r.headlessProtocol(p); ok {
		protocol = declared
	}
	return &mesh.Outbound{Kind: mesh.ToPod, Protocol: protocol, Endpoints: []mesh.Endpoint{e}}
}

// headlessProtocol returns what headless Services say about the target, which is a port of p. Only Services of the
// pod's namespace count: another namespace must not change how the pod is spoken to. The first by name that says
// something decides.
func (r *resolver) headlessProtocol(p *compile.Pod) (mesh.Protocol, bool) {
	addr := r.q.Target.Addr
	var declaring *compile.Service
	var protocol mesh.Protocol
	for _, sl := range r.store.slicesByIP[addr.Addr()] {
		svc := r.store.services[sl.Service]
		if svc == nil || !svc.Headless || svc.Namespace != p.Namespace ||
			declaring != nil && strings.Compare(declaring.Name, svc.Name) < 0 {
			continue
		}
		for _, sp := range sl.Ports {
			port, ok := svc.PortNamed(sp.Name)
			if !ok || sp.Port != addr.Port() {
				continue
			}
			if declared, ok := svc.DeclaredProtocol(port); ok {
				declaring, protocol = svc, declared
			}
		}
	}
	return protocol, declaring != nil
}

// podProtocol returns what a Server, else the pod's annotation, else its namespace's, else the default list says about
// a port of the pod.
func (r *resolver) podProtocol(p *compile.Pod, port uint16) mesh.Protocol {
	if protocol := r.store.serverProtocolAt(p, port); protocol != mesh.Detect {
		return compile.OpaqueIf(protocol == mesh.Opaque)
	}
	if p.Settings.Opaque != nil {
		return compile.OpaqueIf(p.Settings.Opaque.Contains(port))
	}
	return compile.OpaqueIf(r.snap.defaults(p.Namespace).opaqueOf(p.PortsNamed).Contains(port))
}

// podDecides reports whether podProtocol is what a Server or the pod itself says.
func (r *resolver) podDecides(p *compile.Pod, port uint16) bool {
	return p.Settings.Opaque != nil || r.store.serverProtocolAt(p, port) != mesh.Detect
}
