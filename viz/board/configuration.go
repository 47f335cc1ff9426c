package board

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/routes"
)

// Configuration is what the control plane tells proxies. *explain.Model implements it. One that does not know all also
// has a method Missing() []string, which returns notes about that.
type Configuration interface {
	// Inbound returns what the proxy of a pod receives about the pod; nil if that is not known.
	Inbound(pod *corev1.Pod) *mesh.Inbound
	// Ports returns what proxies receive about each port of a Service.
	Ports(namespace, service string) []*mesh.Outbound
	// Routes returns the routes of a Service.
	Routes(namespace, service string) []explain.ServiceRoute
}

// configuration returns what the control plane tells proxies. If the viewer lacks a right, it returns nil and a note
// that begins with missing: what the page does not show. Without a reader it returns nil and no note.
func (s Sources) configuration(ctx context.Context, namespace, missing string) (c Configuration, notes []string) {
	if s.Configuration == nil {
		return nil, nil
	}
	c, err := s.Configuration(ctx, namespace)
	if err != nil {
		return nil, []string{missing + ": " + err.Error()}
	}
	if partial, ok := c.(interface{ Missing() []string }); ok {
		return c, partial.Missing()
	}
	return c, nil
}

// inboundOf returns the function that viz/authz asks for what a pod's proxy receives.
func inboundOf(c Configuration) func(namespace, pod string) *mesh.Inbound {
	return func(namespace, pod string) *mesh.Inbound {
		if c == nil {
			return nil
		}
		return c.Inbound(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod}})
	}
}

// configuredRoutesOf returns the function that viz/routes asks for the routes of a Service; nil if they are not known.
func configuredRoutesOf(c Configuration) func(namespace, service string) []routes.Existing {
	if c == nil {
		return nil
	}
	return func(namespace, service string) (out []routes.Existing) {
		for _, r := range c.Routes(namespace, service) {
			e := routes.Existing{Authority: r.Authority, Route: r.Name}
			for _, b := range r.Backends {
				e.Backends = append(e.Backends, routes.Service{Namespace: b.Namespace, Name: b.Name})
			}
			out = append(out, e)
		}
		return out
	}
}
