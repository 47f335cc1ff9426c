package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/injection"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// injectOptions are the flags of inject.
type injectOptions struct {
	injection.Injection
	ignoreCluster bool
	output        string
}

func (c *cli) injectCommand() *cobra.Command {
	var opts injectOptions
	cmd := &cobra.Command{
		Use:   "inject [flags] FILE|DIR|URL|-...",
		Short: "Add the proxy to workloads in a manifest",
		Long: `inject adds the annotation linkerd.io/inject: enabled to every workload of the manifests and prints them. The injector adds the proxy
when the pods are created. With --manual, inject writes the proxy's containers itself, for clusters without the injector. Other flags
become config.linkerd.io annotations. The report goes to stderr. Comments of the input are lost.`,
		Example: `  kubectl get deploy -o yaml | tulle inject - | kubectl apply -f -
  tulle inject --proxy-log-level=debug shop.yaml | kubectl apply -f -
  tulle inject --manual --ignore-cluster manifests/ > meshed.yaml`,
		Args: atLeastOne("a file, a directory, a URL, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Annotations = injectAnnotations(cmd.Flags())
			return c.inject(cmd.Context(), args, opts)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.Manual, "manual", false, "write the proxy's containers instead of the annotation")
	fs.BoolVar(&opts.Ingress, "ingress", false,
		"write the annotation value ingress, which means enabled here; requests go to the address that the ingress chose")
	fs.BoolVar(&opts.ignoreCluster, "ignore-cluster", false,
		"with --manual: take the defaults of this CLI, not those of the installation")
	outputFlag(cmd, &opts.output, "yaml", "json")
	registerInjectFlags(fs)
	return cmd
}

func (c *cli) inject(ctx context.Context, args []string, opts injectOptions) error {
	t := opts.Injection
	t.Namespace, t.Defaults = c.flags.namespace, inject.Defaults()
	t.Defaults.ControlPlaneNamespace, t.Defaults.Version = c.flags.controlNamespace, version
	if opts.Manual && !opts.ignoreCluster {
		var err error
		if t.Defaults, err = c.installedDefaults(ctx); err != nil {
			return fmt.Errorf("%w (--ignore-cluster takes the defaults of this CLI instead)", err)
		}
	}
	if err := t.Check(); err != nil {
		return err
	}
	return c.transform(ctx, args, opts.output, t.Object, "injected")
}

// installedDefaults returns what the installation gives to every proxy.
func (c *cli) installedDefaults(ctx context.Context) (inject.Values, error) {
	cl, err := c.connect(c.flags)
	if err != nil {
		return inject.Values{}, err
	}
	config, err := installation.Config(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return inject.Values{}, fmt.Errorf("read the installation's defaults: %w", err)
	}
	values, err := inject.ParseValues([]byte(config.Data["values"]))
	if err != nil {
		return values, err
	}
	// A user who may not read the APIService, or a cluster without it, gets proxies without tap.
	service, err := cl.Dynamic.Resource(inject.APIServices).Get(ctx, mesh.TapAPIService, metav1.GetOptions{})
	if err == nil {
		values.Proxy.Tap.Offered = inject.OffersTap(service, values.Proxy.Tap.Namespace)
	}
	return values, nil
}
