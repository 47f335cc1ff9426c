package viz

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/statinbound"
)

func (c *commands) statInboundCommand() *cobra.Command {
	var f workloadFlags
	cmd := &cobra.Command{
		Use:   "stat-inbound RESOURCE [NAME...]",
		Short: "Show the requests that workloads served, by Server and route",
		Long: `stat-inbound shows the success rate, the rate and the latency of requests that workloads served. Each Server and route has a row.

` + workloadTypes,
		Example: `  tulle viz stat-inbound deploy/web -n shop
  tulle viz stat-inbound deploy -A -t 10m`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.statInbound(cmd.Context(), args, f) },
	}
	f.register(cmd)
	return cmd
}

func (c *commands) statInbound(ctx context.Context, args []string, f workloadFlags) error {
	req, cl, err := c.connect(&f, args)
	if err != nil {
		return err
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	result, err := statinbound.Rows(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	c.note(result.Notes)
	return write(c, f.output, result.Rows, func(w io.Writer, rows []statinbound.Row) error {
		return statinbound.WriteTable(w, rows, f.allNamespaces)
	}, statinbound.WriteJSON)
}
