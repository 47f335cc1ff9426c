package model

import (
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/mesh"
)

// probePaths returns the paths, sorted, that the kubelet asks for over plain HTTP or gRPC, by port: the probes of containers and native
// sidecars. A probe over HTTPS shows no path to a proxy; one with a host of its own goes elsewhere.
func probePaths(o *corev1.Pod) map[uint16][]string {
	paths := map[uint16][]string{}
	for i := range o.Spec.InitContainers {
		c := &o.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			addProbes(paths, c)
		}
	}
	for i := range o.Spec.Containers {
		addProbes(paths, &o.Spec.Containers[i])
	}
	if len(paths) == 0 {
		return nil
	}
	for port, list := range paths {
		slices.Sort(list)
		paths[port] = slices.Compact(list)
	}
	return paths
}

func addProbes(paths map[uint16][]string, c *corev1.Container) {
	if c.Name == mesh.ProxyContainer {
		return
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if port, path, ok := probed(p, c); ok {
			paths[port] = append(paths[port], path)
		}
	}
}

// probed returns what a probe of a container asks for, if a proxy can tell.
func probed(p *corev1.Probe, c *corev1.Container) (port uint16, path string, ok bool) {
	switch {
	case p == nil:
	case p.GRPC != nil:
		port, ok = probePort(intstr.FromInt32(p.GRPC.Port), c)
		return port, mesh.GRPCProbePath, ok
	case p.HTTPGet != nil && p.HTTPGet.Host == "" && p.HTTPGet.Scheme != corev1.URISchemeHTTPS:
		port, ok = probePort(p.HTTPGet.Port, c)
		return port, probePath(p.HTTPGet.Path), ok
	}
	return 0, "", false
}

// probePath is the path without its query as the kubelet asks for it: rooted, and escaped as a URL.
func probePath(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	return "/" + strings.TrimPrefix(u.EscapedPath(), "/")
}

// probePort resolves a name among the container's own ports, as the kubelet does.
func probePort(p intstr.IntOrString, c *corev1.Container) (uint16, bool) {
	if p.Type == intstr.Int {
		return uint16(p.IntVal), p.IntVal > 0 && p.IntVal <= 65535
	}
	for _, cp := range c.Ports {
		if cp.Name == p.StrVal {
			return uint16(cp.ContainerPort), true
		}
	}
	return 0, false
}
