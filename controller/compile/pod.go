package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
)

// Pod is the record of a pod that has not ended.
type Pod struct {
	types.NamespacedName
	UID         types.UID
	Created     time.Time
	IPs         []netip.Addr
	Node        string
	HostNetwork bool
	Settings    Settings
	// meshed says that this control plane injected a proxy, and unmeshed which ports go past it.
	meshed   bool
	unmeshed mesh.PortSet
	Declared mesh.PortSet        // of a meshed pod: the TCP ports of its containers beside the proxy
	Probes   map[uint16][]string // what the kubelet asks for, by port
	Labels   labels.Set
	ports    []namedPort
	Ref      mesh.PodRef
}

// namedPort is a port of a container that has a name.
type namedPort struct {
	name string
	port uint16
}

func ParsePod(o *corev1.Pod, controlPlane string, prior Settings) *Pod {
	p := &Pod{
		NamespacedName: NameOf(o),
		UID:            o.UID,
		Created:        o.CreationTimestamp.Time,
		Node:           o.Spec.NodeName,
		HostNetwork:    o.Spec.HostNetwork,
		IPs:            podIPs(o),
		Probes:         probePaths(o),
		Labels:         o.Labels,
		ports:          namedPorts(o),
		Ref:            PodRef(o),
	}
	p.Settings = ParseSettings(o, p.PortsNamed, prior)
	p.meshed = !o.Spec.HostNetwork && o.Labels[mesh.ControlPlaneNSLabel] == controlPlane && proxyOf(o) != nil
	if p.meshed {
		p.unmeshed = unmeshedPorts(o, p.Settings)
		p.Declared = declaredPorts(o)
	}
	return p
}

func podIPs(o *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, ip := range o.Status.PodIPs {
		if addr, ok := parseAddr(ip.IP); ok {
			out = append(out, addr)
		}
	}
	if addr, ok := parseAddr(o.Status.PodIP); ok && !slices.Contains(out, addr) {
		out = append(out, addr)
	}
	return out
}

// proxyOf returns the pod's proxy: a native sidecar or a plain container; nil if it has none.
func proxyOf(o *corev1.Pod) *corev1.Container {
	for _, list := range [][]corev1.Container{o.Spec.InitContainers, o.Spec.Containers} {
		for i := range list {
			if list[i].Name == mesh.ProxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

// unmeshedPorts returns the ports that the pod's capture rules leave alone, as they were programmed when the pod
// started: annotations may have changed since. The proxy's own admin and control ports are among them.
func unmeshedPorts(o *corev1.Pod, s Settings) mesh.PortSet {
	ports := mesh.PortSet{{First: mesh.ControlPort, Last: mesh.ControlPort}, {First: mesh.AdminPort, Last: mesh.AdminPort}}
	if c, err := mesh.ParseProxyConfig([]byte(envOf(proxyOf(o), mesh.ProxyConfigEnv))); err == nil {
		ports = mesh.PortSet{{First: c.ControlPort, Last: c.ControlPort}, {First: c.AdminPort, Last: c.AdminPort}}
	}
	for i := range o.Spec.InitContainers {
		if o.Spec.InitContainers[i].Name != mesh.InitContainer {
			continue
		}
		if c, err := mesh.ParseCaptureConfig([]byte(envOf(&o.Spec.InitContainers[i], mesh.CaptureConfigEnv))); err == nil {
			return append(ports, c.SkipInboundPorts...)
		}
	}
	if s.SkipInbound != nil {
		ports = append(ports, *s.SkipInbound...)
	}
	return ports
}

func envOf(c *corev1.Container, key string) string {
	for i := range c.Env {
		if c.Env[i].Name == key {
			return c.Env[i].Value
		}
	}
	return ""
}

func namedPorts(o *corev1.Pod) []namedPort {
	var out []namedPort
	for _, list := range [][]corev1.Container{o.Spec.InitContainers, o.Spec.Containers} {
		for i := range list {
			for _, p := range list[i].Ports {
				if p.Name != "" && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
					out = append(out, namedPort{p.Name, uint16(p.ContainerPort)})
				}
			}
		}
	}
	return out
}

// declaredPorts returns the TCP ports that the pod's containers declare, without those of the proxy.
func declaredPorts(o *corev1.Pod) mesh.PortSet {
	var ports []uint16
	for _, list := range [][]corev1.Container{o.Spec.InitContainers, o.Spec.Containers} {
		for i := range list {
			if list[i].Name == mesh.ProxyContainer {
				continue
			}
			for _, p := range list[i].Ports {
				if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
					ports = append(ports, uint16(p.ContainerPort))
				}
			}
		}
	}
	return mesh.NewPortSet(ports...)
}

// PortsNamed returns the ports of that name. Several containers may have one each.
func (p *Pod) PortsNamed(n string) []uint16 {
	var out []uint16
	for _, np := range p.ports {
		if np.name == n {
			out = append(out, np.port)
		}
	}
	return out
}

// Identity returns whom a peer must find at the port; zero if the port has no proxy of this control plane before it.
func (p *Pod) Identity(port uint16, trustDomain string) mesh.ID {
	if !p.meshed || p.unmeshed.Contains(port) {
		return mesh.ID{}
	}
	return mesh.ID{TrustDomain: trustDomain, Namespace: p.Namespace, ServiceAccount: p.Ref.ServiceAccount}
}

// PodRef returns what metrics and tap say about the pod.
func PodRef(o *corev1.Pod) mesh.PodRef {
	kind, name := podowner.Of(o)
	return mesh.PodRef{
		Namespace:       o.Namespace,
		Name:            o.Name,
		ServiceAccount:  cmp.Or(o.Spec.ServiceAccountName, "default"),
		OwnerKind:       kind,
		OwnerName:       name,
		PodTemplateHash: o.Labels[podowner.TemplateHashLabel],
		ControlPlaneNS:  o.Labels[mesh.ControlPlaneNSLabel],
	}
}
