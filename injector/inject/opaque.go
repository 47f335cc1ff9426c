package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// OpaquePorts returns the opaque-ports annotation for a Service, or a pod without a proxy, that has none itself. It is
// the namespace's, without names of ports that the object does not have; otherwise, in a namespace that opted in, the
// declared ports of the installation's default. ok is false if there is none.
func OpaquePorts(defaults Values, ns Namespace, own map[string]string, declared DeclaredPorts) (value string, ok bool) {
	if _, set := own[mesh.OpaquePortsAnnotation]; set {
		return "", false
	}
	if value, ok = ns.Annotations[mesh.OpaquePortsAnnotation]; ok {
		return declared.meant(value)
	}
	switch ns.Annotations[mesh.InjectAnnotation] {
	case "enabled", "ingress":
	default:
		return "", false
	}
	opaque, err := mesh.ParsePortSet(defaults.Proxy.OpaquePorts, nil)
	if err != nil {
		return "", false
	}
	var taken mesh.PortSet
	for _, p := range declared {
		if n := p.Number; opaque.Contains(n) && !taken.Contains(n) {
			taken = append(taken, mesh.PortRange{First: n, Last: n})
		}
	}
	return taken.String(), len(taken) > 0
}

// DeclaredPorts are the TCP ports of an object.
type DeclaredPorts []DeclaredPort

// DeclaredPort is a TCP port of an object; it need not have a name.
type DeclaredPort struct {
	Name   string
	Number uint16
}

// PodPorts lists the TCP ports that a pod's containers declare.
func PodPorts(pod *corev1.Pod) DeclaredPorts {
	var ports DeclaredPorts
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, p := range c.Ports {
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				ports = append(ports, DeclaredPort{p.Name, uint16(p.ContainerPort)})
			}
		}
	}
	return ports
}

// ServicePorts lists the TCP ports of a Service.
func ServicePorts(svc *corev1.Service) DeclaredPorts {
	var ports DeclaredPorts
	for _, p := range svc.Spec.Ports {
		if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
			ports = append(ports, DeclaredPort{p.Name, uint16(p.Port)})
		}
	}
	return ports
}

// named returns the ports of that name, nil if there are none. Several containers may use the same name.
func (d DeclaredPorts) named(name string) []uint16 {
	var ports []uint16
	for _, p := range d {
		if p.Name == name {
			ports = append(ports, p.Number)
		}
	}
	return ports
}

// meant returns a namespace's list without the names of ports that the object does not have; ok is false if nothing is
// left of it.
func (d DeclaredPorts) meant(value string) (_ string, ok bool) {
	var read mesh.Settings
	err := read.Set(mesh.OpaquePortsAnnotation, value, nil)
	names := read.OpaqueNames
	if err != nil || len(names) == 0 {
		return value, err == nil
	}
	var parts []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" && (!slices.Contains(names, part) || d.named(part) != nil) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ","), parts != nil
}

// Opaque returns what an object's own annotations say about opaque ports, nil without any. The destination controller
// reads them in the same way and words, so an error here is what it would tell about an object that the injector never
// saw.
func (d DeclaredPorts) Opaque(own map[string]string) (mesh.PortSet, error) {
	value, ok := own[mesh.OpaquePortsAnnotation]
	if !ok {
		return nil, nil
	}
	var read mesh.Settings
	if err := read.Set(mesh.OpaquePortsAnnotation, value, d.named); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", mesh.OpaquePortsAnnotation, err)
	}
	return *read.Opaque, nil
}

// CheckService returns an error that names a bad value among the annotations of a Service; only opaque-ports has a
// meaning there.
func CheckService(svc *corev1.Service) error {
	_, err := ServicePorts(svc).Opaque(svc.Annotations)
	return err
}
