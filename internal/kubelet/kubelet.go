// Package kubelet lists the requests that the kubelet makes to pods.
//
// It owns the parsing of probes and lifecycle hooks. It must not import any package of the mesh, so that admission,
// policy and the command line agree on the requests. The one idea: a request is exactly what the kubelet sends, byte
// for byte, so that policy can allow exactly that.
package kubelet

import (
	"net/url"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// GRPCTarget is the path of every gRPC probe. The name of the probed service is in the request's body.
const GRPCTarget = "/grpc.health.v1.Health/Check"

// Request is a request that the kubelet makes to a pod: for a probe of a container or native sidecar, or for a
// lifecycle hook.
type Request struct {
	Container string
	Kind      string // livenessProbe, readinessProbe, startupProbe, postStart or preStop
	Port      uint16
	// Target is the path and the query as the kubelet sends them, or GRPCTarget.
	Target string
	// TLS means HTTPS: a proxy cannot read the request.
	TLS bool
}

// Requests returns the requests that the kubelet makes to a pod over HTTP, HTTPS and gRPC. It omits the container
// except, and probes with a host of their own, which go elsewhere.
func Requests(spec *corev1.PodSpec, except string) (out []Request) {
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.Name != except && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = addRequests(out, c)
		}
	}
	for i := range spec.Containers {
		if c := &spec.Containers[i]; c.Name != except {
			out = addRequests(out, c)
		}
	}
	return out
}

func addRequests(out []Request, c *corev1.Container) []Request {
	get := func(kind string, g *corev1.HTTPGetAction) {
		if g == nil || g.Host != "" {
			return
		}
		if port, ok := portOf(g.Port, c); ok {
			out = append(out, Request{Container: c.Name, Kind: kind, Port: port, Target: target(g.Path),
				TLS: g.Scheme == corev1.URISchemeHTTPS})
		}
	}
	for _, probe := range []struct {
		kind string
		*corev1.Probe
	}{{"startupProbe", c.StartupProbe}, {"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}} {
		switch {
		case probe.Probe == nil:
		case probe.GRPC != nil:
			if port, ok := portOf(intstr.FromInt32(probe.GRPC.Port), c); ok {
				out = append(out, Request{Container: c.Name, Kind: probe.kind, Port: port, Target: GRPCTarget})
			}
		default:
			get(probe.kind, probe.HTTPGet)
		}
	}
	if l := c.Lifecycle; l != nil && l.PostStart != nil {
		get("postStart", l.PostStart.HTTPGet)
	}
	if l := c.Lifecycle; l != nil && l.PreStop != nil {
		get("preStop", l.PreStop.HTTPGet)
	}
	return out
}

// target returns a path as the kubelet sends it: rooted, escaped as a URL, without a fragment. A path that is not a URL
// is escaped as a whole.
func target(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	u.Scheme, u.Host = "http", "pod"
	if sent, err := url.Parse(u.String()); err == nil {
		u = sent
	}
	return u.RequestURI()
}

// portOf returns a port by its name among the container's own ports, as the kubelet does.
func portOf(p intstr.IntOrString, c *corev1.Container) (uint16, bool) {
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
