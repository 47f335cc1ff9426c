package inject

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// OpaquePorts returns the opaque-ports annotation that a Service, or a pod without a proxy, takes over when it has none itself:
// the namespace's; else, in a namespace that opted in, the part of the installation's default that the object declares. ok is
// false when there is nothing to take over.
func OpaquePorts(defaults Values, ns Namespace, own map[string]string, declared []uint16) (value string, ok bool) {
	if _, set := own[mesh.OpaquePortsAnnotation]; set {
		return "", false
	}
	if value, ok = ns.Annotations[mesh.OpaquePortsAnnotation]; ok {
		return value, checkNamedPorts(value) == nil
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
		if opaque.Contains(p) && !taken.Contains(p) {
			taken = append(taken, mesh.PortRange{First: p, Last: p})
		}
	}
	return taken.String(), len(taken) > 0
}

// PodPorts lists the TCP ports that a pod's containers declare.
func PodPorts(pod *corev1.Pod) []uint16 {
	var ports []uint16
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				ports = append(ports, uint16(p.ContainerPort))
			}
		}
	}
	return ports
}

// ServicePorts lists the TCP ports of a Service.
func ServicePorts(svc *corev1.Service) []uint16 {
	var ports []uint16
	for _, p := range svc.Spec.Ports {
		if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
			ports = append(ports, uint16(p.Port))
		}
	}
	return ports
}

// CheckService returns an error that names a bad value among the annotations of a Service; only opaque-ports has a meaning there.
func CheckService(own map[string]string) error {
	value, ok := own[mesh.OpaquePortsAnnotation]
	if !ok {
		return nil
	}
	for _, a := range annotations() {
		if mesh.ConfigPrefix+a.key == mesh.OpaquePortsAnnotation {
			s := Settings{explicit: map[string]bool{}}
			return s.set(a, mesh.OpaquePortsAnnotation, value, onService)
		}
	}
	return nil
}
