package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/install"
)

// installOptions are the flags of install that are not values.
type installOptions struct {
	crds, ha                       bool
	ignoreCluster, reuse           bool
	externalIssuer, externalCA     bool
	registry, output               string
	set, setString, setFile        []string
	valueFiles                     []string
	anchorsFile, certFile, keyFile string
}

func (c *cli) installCommand() *cobra.Command {
	var opts installOptions
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
		RunE: func(cmd *cobra.Command, _ []string) error { return c.install(cmd, opts) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.crds, "crds", false, "print only the custom resource definitions")
	fs.BoolVar(&opts.ha, "ha", false, "three replicas of everything, spread over nodes, with disruption budgets")
	fs.BoolVar(&opts.ignoreCluster, "ignore-cluster", false, "do not look for an installation in the current cluster")
	fs.BoolVar(&opts.reuse, "reuse-values", false,
		"start from the values of the installation in the cluster, not from the defaults")
	fs.StringVarP(&opts.output, "output", "o", "yaml", "format: yaml or json")
	fs.StringArrayVar(&opts.set, "set", nil, "set a value: key=value,...; docs/cli.md#values-of-install lists the keys")
	fs.StringArrayVar(&opts.setString, "set-string", nil, "set a value that is a text: key=value,...")
	fs.StringArrayVar(&opts.setFile, "set-file", nil, "set a value to the content of a file: key=path,...")
	fs.StringArrayVarP(&opts.valueFiles, "values", "f", nil, "file or https URL of values; may be repeated, the last wins")
	fs.StringVar(&opts.registry, "registry", "", "prefix of both images, instead of ghcr.io/tulle-mesh")
	fs.StringVar(&opts.anchorsFile, "identity-trust-anchors-file", "", "PEM file of the trust anchors")
	fs.StringVar(&opts.certFile, "identity-issuer-certificate-file", "", "PEM file of the issuer's certificate")
	fs.StringVar(&opts.keyFile, "identity-issuer-key-file", "", "PEM file of the issuer's key")
	fs.BoolVar(&opts.externalIssuer, "identity-external-issuer", false,
		"the Secret tulle-identity-issuer is kept by somebody else, such as cert-manager; needs "+
			"--identity-trust-anchors-file or --identity-external-ca")
	fs.BoolVar(&opts.externalCA, "identity-external-ca", false,
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

func (c *cli) install(cmd *cobra.Command, opts installOptions) error {
	if opts.output != "yaml" && opts.output != "json" {
		return fmt.Errorf("output %q: want yaml or json", opts.output)
	}
	var cl *cluster.Client
	var err error
	if !opts.ignoreCluster {
		if cl, err = c.connect(c.flags); err != nil {
			c.debugf("not looking at the cluster: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), cluster.LookTimeout)
	defer cancel()
	before := c.installedConfig(ctx, cl, err)
	overrides, err := c.installOverrides(cmd, opts, before)
	if err != nil {
		return err
	}
	values, err := c.installValues(overrides)
	if err != nil {
		return err
	}
	target := install.Target{Namespace: c.flags.controlNamespace, Version: version}
	if err := c.checkElsewhere(ctx, cl, target); err != nil {
		return err
	}
	missing, notes, err := installation.MissingDefinitions(ctx, cl, target, values.InstallGatewayAPI)
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.err, "note:", note)
	}
	manifests := install.RenderCRDs(missing)
	if !opts.crds {
		c.noteInstallation(before, overrides)
		if warning, err := installation.SharedWarning(ctx, cl, target.Namespace); err != nil {
			c.debugf("not known who uses the namespace: %v", err)
		} else if warning != "" {
			fmt.Fprintln(c.err, "warning:", warning)
		}
		rest, err := install.Render(values, target)
		if err != nil {
			return err
		}
		manifests = append(manifests, rest...)
	}
	if opts.output == "json" {
		if manifests, err = install.JSON(manifests); err != nil {
			return err
		}
	}
	_, err = c.out.Write(manifests)
	return err
}

// checkElsewhere refuses a second installation in the cluster. What a cluster does not answer is no obstacle.
func (c *cli) checkElsewhere(ctx context.Context, cl *cluster.Client, t install.Target) error {
	switch err := installation.CheckElsewhere(ctx, cl, t); {
	case errors.As(err, new(*installation.ElsewhereError)):
		return fmt.Errorf("%w (--ignore-cluster does not look)", err)
	case apierrors.IsForbidden(err):
		fmt.Fprintln(c.err, "note: not known whether another namespace has an installation:", err)
	case err != nil:
		c.debugf("other namespaces not asked for an installation: %v", err)
	}
	return nil
}

// installValues returns valid values, and says on stderr what the user should know about them.
func (c *cli) installValues(overrides *install.Overrides) (install.Values, error) {
	values, warnings, err := overrides.Values()
	if err != nil {
		return values, err
	}
	more, err := values.Validate(time.Now())
	if err != nil {
		return values, err
	}
	for _, w := range append(warnings, more...) {
		fmt.Fprintln(c.err, "warning:", w)
	}
	return values, nil
}

// installedConfig is the configuration of the cluster's installation, or why there is none.
type installedConfig struct {
	config *corev1.ConfigMap
	err    error
}

func (c *cli) installedConfig(ctx context.Context, cl *cluster.Client, err error) installedConfig {
	if cl == nil {
		return installedConfig{err: cmp.Or(err, errors.New("the cluster was not asked"))}
	}
	config, err := installation.Config(ctx, cl, c.flags.controlNamespace)
	return installedConfig{config, err}
}

// noteInstallation says on stderr when the output will update what is there, and which of its settings would be lost. A
// cluster that does not answer is no obstacle: the manifests of the control plane do not depend on it.
func (c *cli) noteInstallation(before installedConfig, overrides *install.Overrides) {
	if before.err != nil {
		c.debugf("no installation found: %v", before.err)
		return
	}
	fmt.Fprintf(c.err, "Tulle is already installed in namespace %q (%s); applying this output updates it.\n",
		c.flags.controlNamespace, strings.TrimPrefix(before.config.Annotations["linkerd.io/created-by"], "tulle/cli "))
	lost, err := overrides.Lost(before.config.Data["install"])
	if err != nil {
		fmt.Fprintln(c.err, "warning: settings of the installation may be lost:", err)
	}
	if len(lost) > 0 {
		fmt.Fprintf(c.err, "warning: applying this output changes settings that this command does not name: %s.\n"+
			"  To keep them, add --reuse-values, or give them again.\n", strings.Join(lost, ", "))
	}
}

// debugf writes what only --verbose shows.
func (c *cli) debugf(format string, args ...any) {
	if c.flags.verbose {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// installOverrides applies the installation's values if they are asked for, then flags, then values files, then --set,
// --set-string and --set-file: what is more explicit wins.
func (c *cli) installOverrides(
	cmd *cobra.Command, opts installOptions, before installedConfig,
) (*install.Overrides, error) {
	o := &install.Overrides{}
	if opts.reuse {
		if before.err != nil {
			return nil, fmt.Errorf("--reuse-values: read the installation in namespace %s: %w", c.flags.controlNamespace,
				before.err)
		}
		if err := o.Reuse(before.config.Data["install"]); err != nil {
			return nil, err
		}
	}
	if opts.ha {
		if err := o.HighAvailability(); err != nil {
			return nil, err
		}
	}
	if err := c.flagOverrides(cmd, opts, o); err != nil {
		return nil, err
	}
	for _, name := range opts.valueFiles {
		data, err := c.sources().Read(cmd.Context(), name)
		if err != nil {
			return nil, err
		}
		if docs, err := manifest.ReadDocuments(manifest.SourceName(name), data); err != nil {
			return nil, err
		} else if len(docs) > 1 {
			return nil, docs[1].ErrorAt(0, "", "want one document")
		}
		if err := o.File(name, data); err != nil {
			return nil, err
		}
	}
	setFile := func(expr string) error { return o.SetFile(expr, os.ReadFile) }
	for _, set := range []struct {
		exprs []string
		apply func(string) error
	}{{opts.set, o.Set}, {opts.setString, o.SetString}, {opts.setFile, setFile}} {
		for _, expr := range set.exprs {
			if err := set.apply(expr); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// flagOverrides applies the flags that stand for values.
func (c *cli) flagOverrides(cmd *cobra.Command, opts installOptions, o *install.Overrides) error {
	set := map[string]string{}
	if opts.registry != "" {
		prefix := strings.TrimSuffix(opts.registry, "/")
		set["controllerImage"], set["proxy.image.name"] = prefix+"/controller", prefix+"/proxy"
	}
	if opts.externalIssuer {
		set["identity.issuer.scheme"] = install.ExternalIssuer
	}
	if opts.externalCA {
		set["identity.externalCA"] = "true"
	}
	for key, file := range map[string]string{
		"identityTrustAnchorsPEM": opts.anchorsFile, "identity.issuer.tls.crtPEM": opts.certFile,
		"identity.issuer.tls.keyPEM": opts.keyFile,
	} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		set[key] = string(data)
	}
	for key, value := range set {
		if err := o.SetKey(key, key, value); err != nil {
			return err
		}
	}
	for _, f := range valueFlags {
		if flag := cmd.Flags().Lookup(f.name); flag.Changed {
			if err := o.SetKey("--"+f.name, f.key, flag.Value.String()); err != nil {
				return err
			}
		}
	}
	c.warnWithoutMeaning(cmd.Flags(), installFlagsWithoutMeaning)
	return nil
}
