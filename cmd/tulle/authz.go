package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
)

func (c *cli) authzCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "authz KIND/NAME",
		Short: "List the clients that may reach a workload",
		Long: `authz lists the Servers of a workload's pods, the routes on them, and a row for every authorization of every route. The route *
means every request to the Server, and its connections. In a row without an authorization, nothing admits clients: the Server's
accessPolicy decides, which is deny by default.

authz reads the cluster and runs the controller's code, as diagnostics endpoints does. It lists what is active. The status of an
object says why it is not active, or why an earlier generation of it still is.`,
		Example: `  tulle authz -n shop deploy/web
  tulle authz -o json ns/shop`,
		Args: aResource,
		RunE: func(cmd *cobra.Command, args []string) error { return c.authz(cmd.Context(), args, output) },
	}
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

// aResource wants kind/name or kind name.
func aResource(_ *cobra.Command, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("name one resource, such as deploy/web")
	}
	return nil
}

func (c *cli) authz(ctx context.Context, args []string, output string) error {
	m, pods, err := c.podsAndModel(ctx, args)
	if err != nil {
		return err
	}
	rows := m.Authorizations(pods)
	if output == "json" {
		return writeJSON(c.out, rows)
	}
	if len(rows) == 0 {
		fmt.Fprintf(c.err, "No Server selects a port of these pods. The default policy applies: %s.\n",
			strings.Join(m.Defaults(pods), ", "))
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROUTE\tSERVER\tAUTHORIZATION_POLICY\tSERVER_AUTHORIZATION")
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.Route, row.Server, cmp.Or(row.AuthorizationPolicy, "-"),
			cmp.Or(row.ServerAuthorization, "-"))
	}
	return w.Flush()
}

// podsAndModel reads the cluster, and which pods the arguments name.
func (c *cli) podsAndModel(ctx context.Context, args []string) (*explain.Model, []corev1.Pod, error) {
	kind, name, err := cluster.ParseResource(args)
	if err != nil {
		return nil, nil, err
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return nil, nil, err
	}
	pods, err := cluster.PodsOf(ctx, cl, kind, name)
	if err != nil {
		return nil, nil, err
	}
	m, err := explain.Load(ctx, cl, c.flags.controlNamespace)
	return m, pods, err
}
