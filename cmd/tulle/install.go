package main

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
)

func (c *cli) installCommand() *cobra.Command {
	var opts installation.Options
	var ignoreCluster bool
	var output string
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Print the manifests of the control plane",
		Long: `install prints the manifests of the control plane, after the definitions of its custom resources. It changes nothing: apply the output.
It includes the definitions of the Gateway API, unless the cluster has a Gateway API of its own. A cluster can have one installation:
install refuses another namespace than that of the installation in the cluster, unless --ignore-cluster keeps it from looking.

The output contains no secrets and is the same every time, so you can keep it in git. Apply it again to update an installation. Then
give the same values again: install names on stderr those that would change, and --reuse-values takes them from the cluster.

The control plane makes its own trust anchor and issuer when it first starts. To bring your own, give all three --identity-*-file
flags; then the issuer's key is part of the output. With --reuse-values an issuer in the cluster stays there and out of the output.`,
		Example: `  tulle install | kubectl apply -f -
  tulle install --ha --set proxy.logLevel=debug | kubectl apply -f -
  tulle install --reuse-values --set proxy.logLevel=info | kubectl apply -f -
  tulle install -f values.yaml --controller-replicas=2 > tulle.yaml
  tulle install --identity-external-issuer --identity-trust-anchors-file ca.crt | kubectl apply -f -`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	settings := c.settingsFlags(cmd, &opts)
	fs.BoolVar(&opts.CRDs, "crds", false, "print only the custom resource definitions")
	fs.BoolVar(&ignoreCluster, "ignore-cluster", false, "do not look for an installation in the current cluster")
	fs.BoolVar(&opts.Reuse, "reuse-values", false,
		"start from the values of the installation in the cluster, not from the defaults")
	force := flagWithoutMeaning{name: "force", reason: "installing again is always allowed"}
	acceptWithoutMeaning(fs, force)
	outputFlag(cmd, &output, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settings()
		c.warnWithoutMeaning(fs, []flagWithoutMeaning{force})
		return c.install(cmd, opts, ignoreCluster, output)
	}
	cmd.MarkFlagsMutuallyExclusive("ignore-cluster", "reuse-values")
	return cmd
}

func (c *cli) install(cmd *cobra.Command, opts installation.Options, ignoreCluster bool, output string) error {
	if !ignoreCluster {
		opts.Cluster, opts.Unreachable = c.connect(c.flags)
	}
	stream, err := installation.Manifests(cmd.Context(), opts)
	if err == nil && output == "json" {
		stream, err = install.JSON(stream)
	}
	if err != nil {
		return err
	}
	_, err = c.out.Write(stream)
	return err
}
