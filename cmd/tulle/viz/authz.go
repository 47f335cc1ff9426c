package viz

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/authz"
)

func (c *commands) authzCommand() *cobra.Command {
	var f workloadFlags
	cmd := &cobra.Command{
		Use:   "authz RESOURCE [NAME...]",
		Short: "Show which authorizations let requests in, and what policy denied",
		Long: `authz shows the requests to workloads by Server, route and authorization. Denied requests have no authorization, so they have rows of
their own. Requests to several workloads count together.

` + oneType + workloadKinds,
		Example: `  tulle viz authz deploy/web -n shop
  tulle viz authz deploy -n shop -t 10m -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return report(cmd.Context(), c, args, f,
				view[authz.Row]{authz.Rows, authz.WriteTable, authz.WriteJSON})
		},
	}
	f.register(cmd)
	return cmd
}
