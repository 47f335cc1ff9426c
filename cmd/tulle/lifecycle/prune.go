package lifecycle

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/cli/upgrade"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
)

func (c *commands) pruneCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Print the objects of the installation that this version does not use",
		Long: `prune prints objects for kubectl to delete: those that an earlier version or other values of the installation have left in the cluster.
It changes nothing. It prints no Secret, nothing that controllers made, nothing of an extension, and no definition of custom resources
that has resources; it names such definitions on stderr.

It refuses a CLI of another version than the installation's, because that one may use other objects. Upgrade first.`,
		Example: `  tulle prune
  tulle prune | kubectl delete -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.prune(cmd.Context(), output) },
	}
	c.OutputFlag(cmd, &output, "yaml", "json")
	return cmd
}

func (c *commands) prune(ctx context.Context, output string) error {
	cl, err := c.Connect()
	if err != nil {
		return err
	}
	target := install.Target{Namespace: c.ControlNamespace(), Version: c.Version}
	objects, err := upgrade.Prune(ctx, cl, manifests.Render, target, c.Err)
	if err != nil {
		return err
	}
	if len(objects) == 0 {
		fmt.Fprintln(c.Err, "nothing to prune: this version uses every object of the installation")
		return nil
	}
	return installation.Write(c.Out, objects, output)
}
