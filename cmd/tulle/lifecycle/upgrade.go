package lifecycle

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/cli/upgrade"
	"github.com/tulle-mesh/tulle/install"
)

// upgradeOptions are the flags of upgrade.
type upgradeOptions struct {
	upgrade.Options
	from   string
	dryRun bool
	output string
}

func (c *commands) upgradeCommand() *cobra.Command {
	var opts upgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Print the manifests that upgrade the control plane",
		Long: `upgrade prints the manifests of this version of the control plane, with the values of the installation in the cluster. It changes
nothing: apply the output. --set and the other flags of install change values. Definitions of custom resources are part of the output.
Running proxies stay as they are until their pods restart.

The issuer in the cluster stays, also one that you brought, and its key is not part of the output. --from-manifests takes the values
from manifests that you keep, such as those in git, and not from the cluster.

upgrade refuses what would break running proxies: an issuer or trust anchors that they do not trust, an older CLI than that of the
installation, and more than two minor versions in one step, from the control plane or from the oldest proxy. --force upgrades anyway.

--dry-run compares the manifests with the cluster and prints which objects are new, changed, unchanged or obsolete, with the fields that
change. It does not print keys. Objects that this version does not use are left in the cluster: "tulle prune" prints them.`,
		Example: `  tulle upgrade --dry-run
  tulle upgrade | kubectl apply -f -
  tulle upgrade --set proxy.logLevel=debug | kubectl apply -f -
  tulle upgrade --from-manifests tulle.yaml > new.yaml
  tulle prune | kubectl delete -f -`,
		Args: cobra.NoArgs,
	}
	settings := c.SettingsFlags(cmd, &opts.Options.Options)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settings()
		return c.upgrade(cmd.Context(), opts)
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.CRDs, "crds", false, "print only the custom resource definitions")
	fs.StringVar(&opts.from, "from-manifests", "",
		"take the values of the installation from this file or https URL of manifests, and not from the cluster")
	fs.BoolVar(&opts.Force, "force", false, "upgrade although running proxies may break")
	fs.BoolVar(&opts.dryRun, "dry-run", false, "print what applying the manifests would change in the cluster")
	c.OutputFlag(cmd, &opts.output, "yaml", "json")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "crds")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "output")
	return cmd
}

func (c *commands) upgrade(ctx context.Context, opts upgradeOptions) error {
	var err error
	if opts.Cluster, err = c.Connect(); err != nil {
		return err
	}
	control := opts.Target.Namespace
	if opts.from != "" {
		objects, err := c.Sources.Objects(ctx, []string{opts.from})
		if err != nil {
			return err
		}
		if opts.Stored, err = installation.ReadStored(opts.from, objects, control); err != nil {
			return err
		}
	}
	plan, err := upgrade.Manifests(ctx, opts.Options)
	if err != nil {
		return err
	}
	if opts.dryRun {
		changes, err := upgrade.Compare(ctx, opts.Cluster, control, plan)
		if err != nil {
			return err
		}
		return upgrade.WriteChanges(c.Out, changes)
	}
	manifests := plan.Definitions
	if !opts.CRDs {
		upgrade.NoteObsolete(ctx, c.Err, opts.Cluster, control, plan)
		manifests = slices.Concat(manifests, plan.ControlPlane)
	}
	if opts.output == "json" {
		if manifests, err = install.JSON(manifests); err != nil {
			return err
		}
	}
	_, err = c.Out.Write(manifests)
	return err
}
