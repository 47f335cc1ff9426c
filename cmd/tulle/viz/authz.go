package viz

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/objects"
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
		RunE: func(cmd *cobra.Command, args []string) error { return c.authz(cmd.Context(), args, f) },
	}
	f.register(cmd)
	return cmd
}

func (c *commands) authz(ctx context.Context, args []string, f workloadFlags) error {
	req, cl, err := c.connect(&f, args)
	if err != nil {
		return err
	}
	src, err := c.source(ctx, cl)
	if err != nil {
		return err
	}
	result, err := authz.Rows(ctx, src, objects.New(cl, c.ControlNamespace()), req)
	if err != nil {
		return err
	}
	c.note(result.Notes)
	return write(c, f.output, result.Rows, func(w io.Writer, rows []authz.Row) error {
		return authz.WriteTable(w, rows, f.allNamespaces)
	}, authz.WriteJSON)
}
