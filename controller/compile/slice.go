package compile

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// EndpointSlice is the record of an EndpointSlice.
type EndpointSlice struct {
	types.NamespacedName
	Service   types.NamespacedName
	Ports     []slicePort // TCP alone
	Endpoints []Endpoint
	// NodeHints says that an endpoint has hints for nodes.
	NodeHints bool
}

type slicePort struct {
	Name string
	Port uint16
}

type Endpoint struct {
	Addr       netip.Addr
	Conditions conditions
	Node, Zone string
	// Pod and uid are what the endpoint claims to be; pod is zero if it claims nothing.
	Pod                types.NamespacedName
	UID                types.UID
	ForZones, ForNodes []string
}

// conditions of an endpoint, with the defaults that the EndpointSlice API gives to absent ones.
type conditions struct{ Ready, Serving, Terminating bool }

func ParseEndpointSlice(o *discoveryv1.EndpointSlice) *EndpointSlice {
	sl := &EndpointSlice{NamespacedName: NameOf(o),
		Service: types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}}
	if o.AddressType == discoveryv1.AddressTypeFQDN {
		return sl
	}
	for _, p := range o.Ports {
		// A port without a number means "all ports" and gives nothing to dial.
		if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		sl.Ports = append(sl.Ports, slicePort{Name: value(p.Name), Port: uint16(*p.Port)})
	}
	sl.Endpoints = make([]Endpoint, 0, len(o.Endpoints))
	for i := range o.Endpoints {
		if e, ok := newSliceEndpoint(&o.Endpoints[i]); ok {
			sl.Endpoints = append(sl.Endpoints, e)
			sl.NodeHints = sl.NodeHints || len(e.ForNodes) > 0
		}
	}
	return sl
}

// newSliceEndpoint reads an endpoint's first address; the API says that consumers use no other (discovery/v1
// Endpoint.Addresses).
func newSliceEndpoint(o *discoveryv1.Endpoint) (Endpoint, bool) {
	if len(o.Addresses) == 0 {
		return Endpoint{}, false
	}
	addr, ok := parseAddr(o.Addresses[0])
	if !ok {
		return Endpoint{}, false
	}
	e := Endpoint{Addr: addr, Node: value(o.NodeName), Zone: value(o.Zone)}
	c := o.Conditions
	e.Conditions.Ready = c.Ready == nil || *c.Ready
	e.Conditions.Serving = e.Conditions.Ready
	if c.Serving != nil {
		e.Conditions.Serving = *c.Serving
	}
	e.Conditions.Terminating = value(c.Terminating)
	if r := o.TargetRef; r != nil && r.Kind == "Pod" {
		e.Pod, e.UID = types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, r.UID
	}
	if o.Hints != nil {
		for _, z := range o.Hints.ForZones {
			e.ForZones = append(e.ForZones, z.Name)
		}
		for _, n := range o.Hints.ForNodes {
			e.ForNodes = append(e.ForNodes, n.Name)
		}
	}
	return e, true
}

func (sl *EndpointSlice) Addrs() []netip.Addr {
	out := make([]netip.Addr, len(sl.Endpoints))
	for i := range sl.Endpoints {
		out[i] = sl.Endpoints[i].Addr
	}
	return out
}

func (sl *EndpointSlice) PortNamed(n string) (uint16, bool) {
	for _, p := range sl.Ports {
		if p.Name == n {
			return p.Port, true
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
