package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/install"
)

// installOptions are the flags of install that are not values.
type installOptions struct {
	crds, ha, ignoreCluster        bool
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
		Long: `install prints the manifests of the control plane, and before them the definitions of its custom resources; nothing is changed
until they are applied. The definitions of the Gateway API are among them, unless the cluster has a Gateway API of its own.

The output holds no secrets and is the same every time, so that it can be kept in git, and applying it again is how an installation
is updated. The control plane makes its own trust anchor and issuer when it first starts. Give all three --identity-*-file flags to
bring your own; then the issuer's key is part of the output.`,
		Example: `  tulle install | kubectl apply -f -
  tulle install --ha --set proxy.logLevel=debug | kubectl apply -f -
  tulle install -f values.yaml --controller-replicas=2 > tulle.yaml
  tulle install --identity-external-issuer --identity-trust-anchors-file ca.crt | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.install(cmd, opts) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.crds, "crds", false, "print only the custom resource definitions")
	fs.BoolVar(&opts.ha, "ha", false, "three replicas of everything, spread over nodes, with disruption budgets")
	fs.BoolVar(&opts.ignoreCluster, "ignore-cluster", false, "do not look for an installation in the current cluster")
	fs.StringVarP(&opts.output, "output", "o", "yaml", "format: yaml or json")
	fs.StringArrayVar(&opts.set, "set", nil, "set a value: key=value,...; values.yaml lists the keys")
	fs.StringArrayVar(&opts.setString, "set-string", nil, "set a value that is a text: key=value,...")
	fs.StringArrayVar(&opts.setFile, "set-file", nil, "set a value to the content of a file: key=path,...")
	fs.StringArrayVarP(&opts.valueFiles, "values", "f", nil, "file or https URL of values; may be repeated, the last wins")
	fs.StringVar(&opts.registry, "registry", "", "prefix of both images, instead of ghcr.io/tulle-mesh")
	fs.StringVar(&opts.anchorsFile, "identity-trust-anchors-file", "", "PEM file of the trust anchors")
	fs.StringVar(&opts.certFile, "identity-issuer-certificate-file", "", "PEM file of the issuer's certificate")
	fs.StringVar(&opts.keyFile, "identity-issuer-key-file", "", "PEM file of the issuer's key")
	fs.BoolVar(&opts.externalIssuer, "identity-external-issuer", false, "the Secret tulle-identity-issuer is kept by somebody else, such as cert-manager; needs --identity-trust-anchors-file or --identity-external-ca")
	fs.BoolVar(&opts.externalCA, "identity-external-ca", false, "the ConfigMaps tulle-identity-trust-roots are kept by somebody else, such as trust-manager")
	for _, f := range valueFlags {
		fs.String(f.name, "", fmt.Sprintf("%s (%s)", f.usage, f.key))
	}
	for _, f := range installFlagsWithoutMeaning {
		acceptWithoutMeaning(fs, f)
	}
	return cmd
}

func (c *cli) install(cmd *cobra.Command, opts installOptions) error {
	if opts.output != "yaml" && opts.output != "json" {
		return fmt.Errorf("output %q: want yaml or json", opts.output)
	}
	overrides, err := c.installOverrides(cmd, opts)
	if err != nil {
		return err
	}
	values, warnings, err := overrides.Values()
	if err != nil {
		return err
	}
	more, err := values.Validate(time.Now())
	if err != nil {
		return err
	}
	for _, w := range append(warnings, more...) {
		fmt.Fprintln(c.err, "warning:", w)
	}
	target := install.Target{Namespace: c.flags.controlNamespace, Version: version}
	var cl *cluster
	if !opts.ignoreCluster {
		if cl, err = c.connect(c.flags); err != nil {
			c.debugf("not looking at the cluster: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), lookTimeout)
	defer cancel()
	manifests, err := c.missingDefinitions(ctx, cl, target, values.InstallGatewayAPI)
	if err != nil {
		return err
	}
	if !opts.crds {
		c.noteInstallation(ctx, cl)
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

// lookTimeout bounds what install asks of a cluster, which may be none.
const lookTimeout = 5 * time.Second

// missingDefinitions returns the definitions of custom resources for the cluster, nil for none. Where it does not answer it is taken
// for a bare one.
func (c *cli) missingDefinitions(ctx context.Context, cl *cluster, target install.Target, gateway bool) ([]byte, error) {
	all, err := install.Definitions(target)
	if err != nil {
		return nil, err
	}
	existing := map[string]map[string]string{}
	if cl != nil {
		definitions, err := cl.definitions(ctx)
		if err != nil {
			fmt.Fprintln(c.err, "note: printing every definition, since the cluster does not say what it has:", err)
		}
		for _, d := range definitions {
			existing[d.Name] = d.Annotations
		}
	}
	if !gateway {
		all = slices.DeleteFunc(all, func(d install.Definition) bool { return d.Gateway() })
	}
	missing, notes := install.Missing(all, existing)
	for _, note := range notes {
		fmt.Fprintln(c.err, "note:", note)
	}
	return install.RenderCRDs(missing), nil
}

// noteInstallation says on stderr when the output will update what is there. A cluster that does not answer is no obstacle: the
// manifests of the control plane do not depend on it.
func (c *cli) noteInstallation(ctx context.Context, cl *cluster) {
	if cl == nil {
		return
	}
	config, err := cl.CoreV1().ConfigMaps(c.flags.controlNamespace).Get(ctx, "tulle-config", metav1.GetOptions{})
	if err != nil {
		c.debugf("no installation found: %v", err)
		return
	}
	fmt.Fprintf(c.err, "Tulle is already installed in namespace %q (%s); applying this output updates it.\n",
		c.flags.controlNamespace, strings.TrimPrefix(config.Annotations["linkerd.io/created-by"], "tulle/cli "))
}

// debugf writes what only --verbose shows.
func (c *cli) debugf(format string, args ...any) {
	if c.flags.verbose {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// installOverrides applies flags, then values files, then --set, --set-string and --set-file: what is more explicit wins.
func (c *cli) installOverrides(cmd *cobra.Command, opts installOptions) (*install.Overrides, error) {
	o := &install.Overrides{}
	if opts.ha {
		if err := o.HighAvailability(); err != nil {
			return nil, err
		}
	}
	if err := c.flagOverrides(cmd, opts, o); err != nil {
		return nil, err
	}
	for _, name := range opts.valueFiles {
		data, err := c.readSource(cmd.Context(), name)
		if err != nil {
			return nil, err
		}
		if docs, err := readDocuments(sourceName(name), data); err != nil {
			return nil, err
		} else if len(docs) > 1 {
			return nil, docs[1].errorAt(0, "", "want one document")
		}
		if err := o.File(name, data); err != nil {
			return nil, err
		}
	}
	for _, expr := range opts.set {
		if err := o.Set(expr); err != nil {
			return nil, err
		}
	}
	for _, expr := range opts.setString {
		if err := o.SetString(expr); err != nil {
			return nil, err
		}
	}
	for _, expr := range opts.setFile {
		if err := o.SetFile(expr, os.ReadFile); err != nil {
			return nil, err
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
		"identityTrustAnchorsPEM": opts.anchorsFile, "identity.issuer.tls.crtPEM": opts.certFile, "identity.issuer.tls.keyPEM": opts.keyFile,
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
