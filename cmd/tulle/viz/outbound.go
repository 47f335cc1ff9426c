package viz

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/statoutbound"
)

func (c *commands) statOutboundCommand() *cobra.Command {
	var f workloadFlags
	cmd := &cobra.Command{
		Use:   "stat-outbound RESOURCE [NAME...]",
		Short: "Show the requests that workloads sent, by Service, route and backend",
		Long: `stat-outbound shows the success rate, the rate and the latency of requests that workloads sent. Each Service and route has a row.
Below it are the attempts that went to each of its backends.

TIMEOUTS is the share of requests or attempts that a timeout of the route ended. RETRIES is the share of attempts that were retries.

` + workloadTypes,
		Example: `  tulle viz stat-outbound deploy/web -n shop
  tulle viz stat-outbound deploy -A -t 10m`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.statOutbound(cmd.Context(), args, f) },
	}
	f.register(cmd)
	return cmd
}

func (c *commands) statOutbound(ctx context.Context, args []string, f workloadFlags) error {
	req, cl, err := c.connect(&f, args)
	if err != nil {
		return err
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	result, err := statoutbound.Rows(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	c.note(result.Notes)
	return write(c, f.output, result.Rows, func(w io.Writer, rows []statoutbound.Row) error {
		return statoutbound.WriteTable(w, rows, f.allNamespaces)
	}, statoutbound.WriteJSON)
}
