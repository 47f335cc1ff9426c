package viz

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

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
	configured, err := c.configured(ctx)
	result, failed := authz.Rows(ctx, src, lister, req, configured.Inbound)
	if err != nil {
		result.Notes = append(result.Notes, fmt.Sprintf("authorizations without requests are not shown: %v", err))
	}
	return result, failed
}
