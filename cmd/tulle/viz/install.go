package viz

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/cli/extension"
	"github.com/tulle-mesh/tulle/install"
	vizinstall "github.com/tulle-mesh/tulle/viz/install"
)

// installFlags are the flags of `viz install`.
type installFlags struct {
	extension.Viz
	ignoreCluster bool
	output        string
}

// installFlagsWithoutEffect are flags of linkerd viz install that change nothing here, and why.
var installFlagsWithoutEffect = map[string]string{
	"skip-checks": "only the control plane is looked for, and --ignore-cluster does not look",
	"wait":        "nothing is waited for; viz check waits",
}

func (c *commands) installCommand() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Print the manifests of the viz extension",
		Long: `install prints the manifests of the viz extension: metrics-api, tap, and a Prometheus that reads every proxy each 10 seconds and keeps
the numbers for 6 hours. It changes nothing: apply the output. The output contains no secrets and is the same every time.

Proxies that are injected from then on let tap watch their requests. Restart the workloads whose requests you want to watch; viz list
names them. --set tap.enabled=false leaves tap out.

--set web.enabled=true adds the dashboard, behind an ingress of yours (docs/dashboard.md). tulle viz dashboard does not need it.

To use a Prometheus, Thanos or Mimir of yours, set prometheusUrl, and prometheus.enabled=false. Its bearer token and the certificates
of its authority come from a Secret in the extension's namespace (prometheusSecret). Without any Prometheus, metrics-api reads the
proxies themselves.`,
		Example: `  tulle viz install | kubectl apply -f -
  tulle viz install --set prometheus.enabled=false,prometheusUrl=http://prometheus.monitoring.svc:9090 | kubectl apply -f -
  tulle viz install --ha -f values.yaml > viz.yaml
  tulle viz install --reuse-values | kubectl apply -f -  # upgrade`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.install(cmd, f) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.HA, "ha", false, "three replicas of all but Prometheus, spread over nodes, with disruption budgets")
	fs.BoolVar(&f.ignoreCluster, "ignore-cluster", false,
		"do not look for a control plane and an extension in the current cluster")
	fs.BoolVar(&f.Reuse, "reuse-values", false,
		"start from the values of the extension in the cluster, not from the defaults")
	outputFlag(cmd, &f.output, "yaml", "json")
	fs.StringArrayVar(&f.Set, "set", nil, "set a value: key=value,...; docs/cli.md#values-of-viz-install lists the keys")
	fs.StringArrayVar(&f.SetString, "set-string", nil, "set a value that is a text: key=value,...")
	fs.StringArrayVar(&f.SetFile, "set-file", nil, "set a value to the content of a file: key=path,...")
	fs.StringArrayVarP(&f.ValueFiles, "values", "f", nil, "file or https URL of values; may be repeated, the last wins")
	fs.StringVar(&f.Registry, "registry", "", "prefix of the extension's images, instead of ghcr.io/tulle-mesh")
	for name, reason := range installFlagsWithoutEffect {
		fs.String(name, "", "no effect: "+reason)
		fs.Lookup(name).NoOptDefVal = "true"
		fs.Lookup(name).Hidden = true
	}
	cmd.MarkFlagsMutuallyExclusive("ignore-cluster", "reuse-values")
	return cmd
}

// target is where the extension is, and for which control plane.
func (c *commands) target() vizinstall.Target {
	return vizinstall.Target{Namespace: vizinstall.Namespace, ControlNamespace: c.ControlNamespace(), Version: c.Version}
}

func (c *commands) install(cmd *cobra.Command, f installFlags) error {
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if reason, ok := installFlagsWithoutEffect[flag.Name]; ok {
			fmt.Fprintf(c.Err, "warning: --%s has no effect: %s\n", flag.Name, reason)
		}
	})
	f.Target = c.target()
	f.Read, f.Log, f.Verbose = c.Read, c.Err, c.Verbose()
	if !f.ignoreCluster {
		f.Cluster, f.Unreachable = c.Connect()
	}
	manifests, err := f.Manifests(cmd.Context())
	if err == nil && f.output == "json" {
		manifests, err = install.JSON(manifests)
	}
	if err != nil {
		return err
	}
	_, err = c.Out.Write(manifests)
	return err
}
