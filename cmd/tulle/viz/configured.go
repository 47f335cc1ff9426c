package viz

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/routes"
)

// Configured says which policies and routes exist, for rows without traffic.
type Configured struct {
	// Inbound returns the inbound configuration of a pod's proxy; nil if it is not known.
	Inbound authz.Policy
	// Routes returns the routes of a Service.
	Routes func(namespace, service string) []routes.Existing
}

// configured reads the cluster. Together with an error, it returns a Configured that knows nothing.
func (c *commands) configured(ctx context.Context) (Configured, error) {
	none := Configured{func(string, string) *mesh.Inbound { return nil }, nil}
	cl, err := c.Connect()
	if err != nil {
		return none, err
	}
	if c.Configured != nil {
		found, err := c.Configured(ctx, cl)
		if err != nil {
			return none, err
		}
		return found, nil
	}
	return readConfigured(ctx, cl, c.ControlNamespace(), none)
}

func readConfigured(ctx context.Context, cl *cluster.Client, control string, none Configured) (Configured, error) {
	m, err := explain.Load(ctx, cl, control)
	if err != nil {
		return none, err
	}
	return Configured{
		Inbound: func(namespace, name string) *mesh.Inbound {
			pod := &corev1.Pod{}
			pod.Namespace, pod.Name = namespace, name
			return m.Inbound(pod)
		},
		Routes: func(namespace, service string) (out []routes.Existing) {
			for _, r := range m.Routes(namespace, service) {
				e := routes.Existing{Authority: r.Authority, Route: r.Name}
				for _, b := range r.Backends {
					e.Backends = append(e.Backends, routes.Service{Namespace: b.Namespace, Name: b.Name})
				}
				out = append(out, e)
			}
			return out
		},
	}, nil
}
