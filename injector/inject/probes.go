package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/kubelet"
	"github.com/tulle-mesh/tulle/mesh"
)

// RefusedProbes returns the kubelet's requests over HTTPS that the settings refuse on ports without a Server. A proxy
// cannot see what they ask for, so it treats them as connections of any client without identity.
func RefusedProbes(spec *corev1.PodSpec, s Settings) []kubelet.Request {
	skipped, _ := mesh.ParsePortSet(s.ProxyInit.IgnoreInboundPorts, nil)
	required, _ := mesh.ParsePortSet(s.Proxy.RequireIdentityOnInboundPorts, nil)
	refuses := NeedsIdentity(s.Proxy.DefaultInboundPolicy)
	return slices.DeleteFunc(kubelet.Requests(spec, mesh.ProxyContainer), func(r kubelet.Request) bool {
		return !r.TLS || skipped.Contains(r.Port) || !refuses && !required.Contains(r.Port)
	})
}

// NeedsIdentity reports whether an access policy refuses every client without identity.
func NeedsIdentity(p mesh.AccessPolicy) bool {
	return p == mesh.Deny || p == mesh.AllAuthenticated || p == mesh.ClusterAuthenticated
}

// adviseOnProbes warns about HTTPS probes and hooks that policy refuses, because such a pod is restarted or never
// ready. It advises an authorization only where one helps: a port that requires an identity refuses the kubelet
// whatever authorizations say.
func adviseOnProbes(spec *corev1.PodSpec, s Settings) (warnings []string) {
	identified, _ := mesh.ParsePortSet(s.Proxy.RequireIdentityOnInboundPorts, nil)
	for _, r := range RefusedProbes(spec, s) {
		why := fmt.Sprintf("inbound policy %s refuses clients without identity", s.Proxy.DefaultInboundPolicy)
		remedy := "use HTTP, gRPC, tcpSocket or exec, or admit the nodes' network on a Server with proxyProtocol: TLS"
		if identified.Contains(r.Port) {
			why = "the port requires an identity (" + mesh.RequireIdentityPortsAnnotation + "), whatever authorizations say"
			remedy = "use HTTP, gRPC, tcpSocket or exec, or take the port off that list"
		}
		warnings = append(warnings, fmt.Sprintf(
			"container %s: %s asks port %d over HTTPS, and %s, so the pod may never be ready: %s "+
				"(docs/authorization.md#https-probes)", r.Container, r.Kind, r.Port, why, remedy))
	}
	return warnings
}
