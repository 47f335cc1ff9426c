package viz

import (
	"github.com/spf13/cobra"

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
		RunE: func(cmd *cobra.Command, args []string) error {
			return report(cmd.Context(), c, args, f,
				view[statoutbound.Row]{statoutbound.Rows, statoutbound.WriteTable, statoutbound.WriteJSON})
		},
	}
	f.register(cmd)
	return cmd
}
