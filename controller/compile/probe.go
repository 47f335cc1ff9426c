package compile

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/internal/kubelet"
	"github.com/tulle-mesh/tulle/mesh"
)

// probePaths returns what the kubelet asks for over plain HTTP or gRPC, sorted, by port. A request over HTTPS shows no
// path to a proxy.
func probePaths(o *corev1.Pod) map[uint16][]string {
	var paths map[uint16][]string
	for _, r := range kubelet.Requests(&o.Spec, mesh.ProxyContainer) {
		if r.TLS {
			continue
		}
		if paths == nil {
			paths = map[uint16][]string{}
		}
		paths[r.Port] = append(paths[r.Port], r.Target)
	}
	for port, list := range paths {
		slices.Sort(list)
		paths[port] = slices.Compact(list)
	}
	return paths
}
