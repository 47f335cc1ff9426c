package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
)

func (c *commands) uninstallCommand() *cobra.Command {
	var opts uninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Print the manifests of everything that an installation left in the cluster",
		Long: `uninstall prints the objects of the installation, for kubectl to delete: cluster-wide objects, the trust anchors of every namespace,
and the control plane's namespace with everything in it, including keys. It fails while pods still have a proxy, because these would
lose their identity within a day. --force prints the objects anyway.

Deleting a CRD deletes all resources of its kind. So uninstall leaves out CRDs that still have resources, such as ServiceProfiles, and
names them on stderr. --with-resources prints them too.`,
		Example: `  tulle uninstall | kubectl delete -f -`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.uninstall(cmd.Context(), opts) },
	}
	cmd.Flags().BoolVarP(&opts.force, "force", "f", false, "even if pods still have a proxy")
	cmd.Flags().BoolVar(&opts.resources, "with-resources", false,
		"also print CRDs that still have resources; deleting them deletes those resources")
	c.OutputFlag(cmd, &opts.output, "yaml", "json")
	return cmd
}

// uninstallOptions are the flags of uninstall.
type uninstallOptions struct {
	force, resources bool
	output           string
}

func (c *commands) uninstall(ctx context.Context, opts uninstallOptions) error {
	cl, err := c.Connect()
	if err != nil {
		return err
	}
	meshed, err := installation.MeshedPods(ctx, cl, c.ControlNamespace())
	if err != nil {
		return err
	}
	if len(meshed) > 0 {
		pods := "1 pod still has"
		if len(meshed) > 1 {
			pods = fmt.Sprintf("%d pods still have", len(meshed))
		}
		text := pods + " a proxy: " + cluster.Abbreviate(meshed)
		if !opts.force {
			return errors.New(text + "\nremove them with `tulle uninject`, or the annotation and a restart, and those of " +
				"the viz extension with `tulle viz uninstall | kubectl delete -f -`, first; --force uninstalls anyway")
		}
		fmt.Fprintln(c.Err, "warning:", text)
	}
	objects, err := installation.Objects(ctx, cl, c.ControlNamespace())
	if err != nil {
		return err
	}
	target := install.Target{Namespace: c.ControlNamespace(), Version: c.Version}
	definitions, notes, err := installation.Definitions(ctx, cl, target, opts.resources)
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.Err, "note:", note)
	}
	objects = append(objects, definitions...)
	if len(objects) == 0 {
		return fmt.Errorf("nothing of Tulle found (namespace %s)", c.ControlNamespace())
	}
	return installation.Write(c.Out, objects, opts.output)
}
