package viz

import (
	"github.com/spf13/cobra"

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
		RunE: func(cmd *cobra.Command, args []string) error {
			return report(cmd.Context(), c, args, f,
				view[statinbound.Row]{statinbound.Rows, statinbound.WriteTable, statinbound.WriteJSON})
		},
	}
	f.register(cmd)
	return cmd
}
