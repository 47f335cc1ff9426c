package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/kubelet"
	"github.com/tulle-mesh/tulle/mesh"
)

// RefusedProbes returns the kubelet's requests over HTTPS that the settings refuse on ports without a Server: a proxy cannot see what they
// ask for, so that they are connections of a client without identity, as any other process of the node may open.
func RefusedProbes(spec *corev1.PodSpec, s Settings) []kubelet.Request {
	skipped, _ := mesh.ParsePortSet(s.ProxyInit.IgnoreInboundPorts, nil)
	wanting, _ := mesh.ParsePortSet(s.Proxy.RequireIdentityOnInboundPorts, nil)
	refuses := NeedsIdentity(s.Proxy.DefaultInboundPolicy)
	return slices.DeleteFunc(kubelet.Requests(spec, mesh.ProxyContainer), func(r kubelet.Request) bool {
		return !r.TLS || skipped.Contains(r.Port) || !refuses && !wanting.Contains(r.Port)
	})
}

// NeedsIdentity reports whether an access policy refuses every client without identity.
func NeedsIdentity(p mesh.AccessPolicy) bool {
	return p == mesh.Deny || p == mesh.AllAuthenticated || p == mesh.ClusterAuthenticated
}

// adviseOnProbes warns of requests of the kubelet that end a pod again and again.
func adviseOnProbes(spec *corev1.PodSpec, s Settings) (warnings []string) {
	for _, r := range RefusedProbes(spec, s) {
		warnings = append(warnings, fmt.Sprintf("container %s: %s asks port %d over HTTPS, and the pod's inbound policy "+
			"refuses clients without identity, so the pod may never be ready: use HTTP, gRPC, tcpSocket or exec, "+
			"or authorize the node's network on a Server of the port (docs/authorization.md#https-probes)",
			r.Container, r.Kind, r.Port))
	}
	return warnings
}
