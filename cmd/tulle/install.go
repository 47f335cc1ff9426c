package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
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
flags; then the issuer's key is part of the output.`,
		Example: `  tulle install | kubectl apply -f -
  tulle install --ha --set proxy.logLevel=debug | kubectl apply -f -
  tulle install --reuse-values | kubectl apply -f -  # upgrade
  tulle install -f values.yaml --controller-replicas=2 > tulle.yaml
  tulle install --identity-external-issuer --identity-trust-anchors-file ca.crt | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.install(cmd, opts, ignoreCluster, output) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.CRDs, "crds", false, "print only the custom resource definitions")
	fs.BoolVar(&opts.HA, "ha", false, "three replicas of everything, spread over nodes, with disruption budgets")
	fs.BoolVar(&ignoreCluster, "ignore-cluster", false, "do not look for an installation in the current cluster")
	fs.BoolVar(&opts.Reuse, "reuse-values", false,
		"start from the values of the installation in the cluster, not from the defaults")
	outputFlag(cmd, &output, "yaml", "json")
	fs.StringArrayVar(&opts.Set, "set", nil, "set a value: key=value,...; docs/cli.md#values-of-install lists the keys")
	fs.StringArrayVar(&opts.SetString, "set-string", nil, "set a value that is a text: key=value,...")
	fs.StringArrayVar(&opts.SetFile, "set-file", nil, "set a value to the content of a file: key=path,...")
	fs.StringArrayVarP(&opts.ValueFiles, "values", "f", nil, "file or https URL of values; may be repeated, the last wins")
	fs.StringVar(&opts.Registry, "registry", "", "prefix of both images, instead of ghcr.io/tulle-mesh")
	fs.StringVar(&opts.AnchorsFile, "identity-trust-anchors-file", "", "PEM file of the trust anchors")
	fs.StringVar(&opts.CertFile, "identity-issuer-certificate-file", "", "PEM file of the issuer's certificate")
	fs.StringVar(&opts.KeyFile, "identity-issuer-key-file", "", "PEM file of the issuer's key")
	fs.BoolVar(&opts.ExternalIssuer, "identity-external-issuer", false,
		"the Secret tulle-identity-issuer is kept by somebody else, such as cert-manager; needs "+
			"--identity-trust-anchors-file or --identity-external-ca")
	fs.BoolVar(&opts.ExternalCA, "identity-external-ca", false,
		"the ConfigMaps tulle-identity-trust-roots are kept by somebody else, such as trust-manager")
	for _, f := range valueFlags {
		fs.String(f.name, "", fmt.Sprintf("%s (%s)", f.usage, f.key))
	}
	for _, f := range installFlagsWithoutMeaning {
		acceptWithoutMeaning(fs, f)
	}
	cmd.MarkFlagsMutuallyExclusive("ignore-cluster", "reuse-values")
	return cmd
}

func (c *cli) install(cmd *cobra.Command, opts installation.Options, ignoreCluster bool, output string) error {
	opts.Target = install.Target{Namespace: c.flags.controlNamespace, Version: version}
	opts.Render = manifests.Render
	opts.Read, opts.Log, opts.Verbose = c.sources().Read, c.err, c.flags.verbose
	if !ignoreCluster {
		opts.Cluster, opts.Unreachable = c.connect(c.flags)
	}
	for _, f := range valueFlags {
		if flag := cmd.Flags().Lookup(f.name); flag.Changed {
			opts.Flags = append(opts.Flags, installation.FlagValue{Flag: f.name, Key: f.key, Value: flag.Value.String()})
		}
	}
	c.warnWithoutMeaning(cmd.Flags(), installFlagsWithoutMeaning)
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
