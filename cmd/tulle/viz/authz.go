package viz

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

func (c *commands) authzCommand() *cobra.Command {
	var f workloadFlags
	cmd := &cobra.Command{
		Use:   "authz RESOURCE [NAME...]",
		Short: "Show which authorizations let requests in, and what policy denied",
		Long: `authz shows the requests to workloads by Server, route and authorization. Denied requests have no authorization, so they have rows of
their own. Requests to several workloads count together. Authorizations that exist have rows without requests, too: for these, authz
reads the cluster and runs the controller's code, as tulle authz does.

` + oneType + workloadKinds,
		Example: `  tulle viz authz deploy/web -n shop
  tulle viz authz deploy -n shop -t 10m -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return report(cmd.Context(), c, args, f,
				view[authz.Row]{c.authzRows, authz.WriteTable, authz.WriteJSON})
		},
	}
	f.register(cmd)
	return cmd
}

// authzRows finds the rows, also of authorizations without requests. For these the user needs more rights than for
// numbers; without, a note says so.
func (c *commands) authzRows(ctx context.Context, src metrics.Source, lister resource.Lister, req subject.Request) (
	authz.Result, error) {
	policy, err := c.policy(ctx)
	if err != nil {
		policy = func(string, string) *mesh.Inbound { return nil }
	}
	result, failed := authz.Rows(ctx, src, lister, req, policy)
	if err != nil {
		result.Notes = append(result.Notes, fmt.Sprintf("authorizations without requests are not shown: %v", err))
	}
	return result, failed
}

// policy reads the cluster, and returns what the proxies of its pods receive.
func (c *commands) policy(ctx context.Context) (authz.Policy, error) {
	cl, err := c.Connect()
	if err != nil {
		return nil, err
	}
	if c.Policy != nil {
		return c.Policy(ctx, cl)
	}
	m, err := explain.Load(ctx, cl, c.ControlNamespace())
	if err != nil {
		return nil, err
	}
	return func(namespace, name string) *mesh.Inbound {
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name = namespace, name
		return m.Inbound(pod)
	}, nil
}
