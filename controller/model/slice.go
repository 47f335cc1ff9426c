package model

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// slice is the record of an EndpointSlice.
type slice struct {
	types.NamespacedName
	service   types.NamespacedName
	ports     []slicePort // TCP alone
	endpoints []sliceEndpoint
	// nodeHints says that an endpoint has hints for nodes.
	nodeHints bool
}

type slicePort struct {
	name string
	port uint16
}

type sliceEndpoint struct {
	addr       netip.Addr
	conditions conditions
	node, zone string
	// pod and uid are what the endpoint claims to be; pod is zero if it claims nothing.
	pod                types.NamespacedName
	uid                types.UID
	forZones, forNodes []string
}

// conditions of an endpoint, with the defaults that the EndpointSlice API gives to absent ones.
type conditions struct{ ready, serving, terminating bool }

func (s *Store) applySlice(o *discoveryv1.EndpointSlice, deleted bool) Change {
	key := nameOf(o)
	var change Change
	if old := s.slices[key]; old != nil {
		delete(s.slices, key)
		unlink(s.slicesByService, old.service, old)
		for i := range old.endpoints {
			unlink(s.slicesByIP, old.endpoints[i].addr, old)
		}
		s.touchSlice(old, &change)
	}
	if !deleted {
		now := newSlice(o)
		s.slices[key] = now
		link(s.slicesByService, now.service, now)
		for i := range now.endpoints {
			link(s.slicesByIP, now.endpoints[i].addr, now)
		}
		s.touchSlice(now, &change)
	}
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) touchSlice(sl *slice, change *Change) {
	svc := s.services[sl.service]
	if svc == nil {
		return
	}
	change.Addrs = append(change.Addrs, svc.clusterIPs...)
	change.Addrs = append(change.Addrs, s.senderAddrs(svc.NamespacedName)...)
	if svc.headless {
		change.Addrs = append(change.Addrs, sl.addrs()...)
	}
}

func newSlice(o *discoveryv1.EndpointSlice) *slice {
	sl := &slice{NamespacedName: nameOf(o), service: types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}}
	if o.AddressType == discoveryv1.AddressTypeFQDN {
		return sl
	}
	for _, p := range o.Ports {
		// A port without a number means "all ports" and gives nothing to dial.
		if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		sl.ports = append(sl.ports, slicePort{name: value(p.Name), port: uint16(*p.Port)})
	}
	sl.endpoints = make([]sliceEndpoint, 0, len(o.Endpoints))
	for i := range o.Endpoints {
		if e, ok := newSliceEndpoint(&o.Endpoints[i]); ok {
			sl.endpoints = append(sl.endpoints, e)
			sl.nodeHints = sl.nodeHints || len(e.forNodes) > 0
		}
	}
	return sl
}

// newSliceEndpoint reads an endpoint's first address; the API says that consumers use no other (discovery/v1 Endpoint.Addresses).
func newSliceEndpoint(o *discoveryv1.Endpoint) (sliceEndpoint, bool) {
	if len(o.Addresses) == 0 {
		return sliceEndpoint{}, false
	}
	addr, ok := parseAddr(o.Addresses[0])
	if !ok {
		return sliceEndpoint{}, false
	}
	e := sliceEndpoint{addr: addr, node: value(o.NodeName), zone: value(o.Zone)}
	c := o.Conditions
	e.conditions.ready = c.Ready == nil || *c.Ready
	e.conditions.serving = e.conditions.ready
	if c.Serving != nil {
		e.conditions.serving = *c.Serving
	}
	e.conditions.terminating = value(c.Terminating)
	if r := o.TargetRef; r != nil && r.Kind == "Pod" {
		e.pod, e.uid = types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, r.UID
	}
	if o.Hints != nil {
		for _, z := range o.Hints.ForZones {
			e.forZones = append(e.forZones, z.Name)
		}
		for _, n := range o.Hints.ForNodes {
			e.forNodes = append(e.forNodes, n.Name)
		}
	}
	return e, true
}

func (sl *slice) addrs() []netip.Addr {
	out := make([]netip.Addr, len(sl.endpoints))
	for i := range sl.endpoints {
		out[i] = sl.endpoints[i].addr
	}
	return out
}

func (sl *slice) portNamed(n string) (uint16, bool) {
	for _, p := range sl.ports {
		if p.name == n {
			return p.port, true
		}
	}
	return 0, false
}

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
