package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
)

func (c *cli) endpointsCommand() *cobra.Command {
	var output, from string
	cmd := &cobra.Command{
		Use:   "endpoints AUTHORITY...",
		Short: "Print the endpoints that a proxy receives for a Service",
		Long: `endpoints prints what a proxy receives from the destination controller for each authority, name.namespace.svc.cluster.local:port.
It reads the cluster and runs the controller's code, so it answers even while the controller does not. If a proxy behaves
differently, the proxy's information is old. Use --from where the answer depends on the client.
web.shop is enough for an authority; without a port, the Service's first one counts.`,
		Example: `  tulle diagnostics endpoints web.shop.svc.cluster.local:80
  tulle diagnostics endpoints --from shop/web-5d8f7c-x2x7q -o json db.shop:5432`,
		Args: atLeastOne("an authority, such as web.shop.svc.cluster.local:80"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endpoints(cmd.Context(), args, from, output)
		},
	}
	outputFlag(cmd, &output, "table", "json")
	cmd.Flags().StringVar(&from, "from", "", "namespace/pod whose proxy asks: zone and node matter for some Services")
	return cmd
}

func (c *cli) endpoints(ctx context.Context, authorities []string, from, output string) error {
	m, _, err := c.modelAs(ctx, from)
	if err != nil {
		return err
	}
	rows := []explain.Endpoint{}
	for _, authority := range authorities {
		found, err := m.Endpoints(authority)
		if err != nil {
			return fmt.Errorf("%s: %w", authority, err)
		}
		rows = append(rows, found...)
	}
	if output == "json" {
		return writeJSON(c.out, rows)
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.err, "No endpoints found.")
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAMESPACE\tIP\tPORT\tPOD\tSERVICE")
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", row.Namespace, row.IP, row.Port, row.Pod, row.Service)
	}
	return w.Flush()
}

// modelAs reads the cluster. It returns what answers as the controller does, to the pod that from names.
func (c *cli) modelAs(ctx context.Context, from string) (*explain.Model, *cluster.Client, error) {
	cl, err := c.connect(c.flags)
	if err != nil {
		return nil, nil, err
	}
	m, err := explain.Load(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return nil, nil, err
	}
	return m, cl, m.AskAs(from)
}
