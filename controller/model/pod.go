package model

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
)

// pod is the record of a pod that has not ended.
type pod struct {
	types.NamespacedName
	uid         types.UID
	created     time.Time
	ips         []netip.Addr
	node        string
	hostNetwork bool
	settings    settings
	// meshed says that this control plane injected a proxy, and unmeshed which ports go past it.
	meshed   bool
	unmeshed mesh.PortSet
	declared mesh.PortSet        // of a meshed pod: the TCP ports of its containers beside the proxy
	probes   map[uint16][]string // what the kubelet asks for, by port
	labels   labels.Set
	ports    []namedPort
	ref      mesh.PodRef
}

// namedPort is a port of a container that has a name.
type namedPort struct {
	name string
	port uint16
}

func (s *Store) applyPod(o *corev1.Pod, deleted bool) Change {
	key := nameOf(o)
	change := Change{Pods: []types.NamespacedName{key}}
	old := s.pods[key]
	// A pod's successor of the same name may be seen before its own end.
	if old != nil && deleted && old.uid != o.UID {
		return Change{}
	}
	if old != nil {
		s.forgetPod(old, &change)
	}
	// A pod that has ended keeps its addresses in its status, but they are free for others.
	if !deleted && o.Status.Phase != corev1.PodSucceeded && o.Status.Phase != corev1.PodFailed {
		var prior settings
		if old != nil && old.uid == o.UID {
			prior = old.settings
		}
		now := newPod(o, s.config.ControlPlaneNamespace, prior)
		s.pods[key] = now
		if !now.hostNetwork {
			for _, ip := range now.ips {
				link(s.podsByIP, ip, now)
			}
		}
		s.touchPod(now, &change)
		change.report(refOf("Pod", o), newFindings(prior.findings, now.settings.findings))
	}
	s.selectServers(old, s.pods[key])
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) forgetPod(old *pod, change *Change) {
	delete(s.pods, old.NamespacedName)
	for _, ip := range old.ips {
		unlink(s.podsByIP, ip, old)
	}
	s.touchPod(old, change)
}

func (s *Store) touchPod(p *pod, change *Change) {
	for _, ip := range p.ips {
		change.Addrs = append(change.Addrs, ip)
		change.Addrs = append(change.Addrs, s.servicesAt(ip)...)
	}
}

// podAt returns the pod that has addr: the youngest, because an address is given again as soon as its pod has ended, and the end of
// the former may be seen late. Pods of the host network do not own their address.
func (s *Store) podAt(addr netip.Addr) *pod {
	pods := s.podsByIP[addr]
	if len(pods) == 0 {
		return nil
	}
	return slices.MaxFunc(pods, func(a, b *pod) int { return a.created.Compare(b.created) })
}

func newPod(o *corev1.Pod, controlPlane string, prior settings) *pod {
	p := &pod{
		NamespacedName: nameOf(o),
		uid:            o.UID,
		created:        o.CreationTimestamp.Time,
		node:           o.Spec.NodeName,
		hostNetwork:    o.Spec.HostNetwork,
		ips:            podIPs(o),
		probes:         probePaths(o),
		labels:         o.Labels,
		ports:          namedPorts(o),
		ref:            podRef(o),
	}
	p.settings = parseSettings(o, p.portsNamed, prior)
	p.meshed = !o.Spec.HostNetwork && o.Labels[mesh.ControlPlaneNSLabel] == controlPlane && proxyOf(o) != nil
	if p.meshed {
		p.unmeshed = unmeshedPorts(o, p.settings)
		p.declared = declaredPorts(o)
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

// unmeshedPorts returns the ports that the pod's capture rules leave alone, as they were programmed when the pod started: annotations
// may have changed since. The proxy's own admin and control ports are among them.
func unmeshedPorts(o *corev1.Pod, s settings) mesh.PortSet {
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
	if s.skipInbound != nil {
		ports = append(ports, *s.skipInbound...)
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

// portsNamed returns the ports of that name, of which several containers may have one each.
func (p *pod) portsNamed(n string) []uint16 {
	var out []uint16
	for _, np := range p.ports {
		if np.name == n {
			out = append(out, np.port)
		}
	}
	return out
}
