package main

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/forecast"
	"github.com/tulle-mesh/tulle/install/manifests"
)

// checkFlagsWithoutMeaning are flags of linkerd check that change nothing here.
var checkFlagsWithoutMeaning = []flagWithoutMeaning{
	{name: "cni-namespace", reason: "there is no CNI plugin", valued: true},
	{name: "linkerd-cni-enabled", reason: "there is no CNI plugin; capture is programmed by the init container"},
	{name: "cli-version-override",
		reason: "nothing is asked outside of the cluster; --expected-version says what to expect", valued: true},
}

func (c *cli) checkCommand() *cobra.Command {
	var opts check.Options
	var output, at string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find out what is wrong with the installation",
		Long: `check says what is wrong with an installation, and where that is explained. It only reads.

With --pre it checks whether Tulle can be installed. With --proxy it also checks the proxies, of all namespaces or that of -n, and asks
each proxy whether it is connected to the control plane. check waits for failures that may pass by themselves, such as pods that
start. It does not wait where no pod has a proxy and none is about to, or where the API server refuses a workload's pods.

With --at it says instead what will have ended at that instant if nobody changes anything: trust anchors, issuer, certificates of the
webhook and of proxies, faults. It names the first moment at which the mesh breaks, and whom that hits.

The exit code is 1 if something is wrong (×). Warnings (‼) leave it at 0.`,
		Example: `  tulle check --pre
  tulle check
  tulle -n shop check --proxy
  tulle check --wait=0s -o json
  tulle check --at +30d
  tulle check --proxy --at 2027-01-01`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.warnWithoutMeaning(cmd.Flags(), checkFlagsWithoutMeaning)
			if cmd.Flags().Changed("at") {
				return c.outlook(cmd.Context(), opts, at, output)
			}
			return c.check(cmd.Context(), opts, output)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.Pre, "pre", false, "only what must hold before the installation")
	fs.BoolVar(&opts.Proxy, "proxy", false, "also the proxies")
	fs.StringVar(&opts.Version, "expected-version", "",
		"version that CLI, control plane and proxies should have (default: the CLI's)")
	fs.DurationVar(&opts.Wait, "wait", 5*time.Minute, "how long to wait for failures that may pass by themselves")
	outputFlag(cmd, &output, "table", "json", "short")
	fs.StringVar(&at, "at", "",
		"say what will have ended at an instant: +30d, +12h, 2027-01-01 or 2027-01-01T12:00:00Z")
	fs.BoolVar(&opts.CRDs, "crds", false, "only the custom resource definitions")
	for _, f := range checkFlagsWithoutMeaning {
		acceptWithoutMeaning(fs, f)
	}
	cmd.MarkFlagsMutuallyExclusive("pre", "proxy", "crds")
	for _, other := range []string{"pre", "crds", "wait", "expected-version"} {
		cmd.MarkFlagsMutuallyExclusive("at", other)
	}
	return cmd
}

// complete adds what the other flags of the command line say.
func (c *cli) complete(opts check.Options) check.Options {
	opts.Version, opts.Render = cmp.Or(opts.Version, version), manifests.Render
	opts.ControlNamespace, opts.Namespace, opts.Log = c.flags.controlNamespace, c.flags.namespace, c.err
	opts.Connect = func() (*cluster.Client, error) { return c.connect(c.flags) }
	return opts
}

// outlook says what of the mesh will have ended at an instant.
func (c *cli) outlook(ctx context.Context, opts check.Options, instant, output string) error {
	at, err := forecast.ParseInstant(instant, time.Now())
	if err != nil {
		return err
	}
	f, err := check.Outlook(ctx, c.complete(opts), at)
	if err != nil {
		return err
	}
	if err := f.Write(c.out, output); err != nil {
		return err
	}
	if !f.Success {
		return errReported
	}
	return nil
}

func (c *cli) check(ctx context.Context, opts check.Options, output string) error {
	opts = c.complete(opts)
	results := check.Run(ctx, opts)
	if err := results.Write(c.out, output); err != nil {
		return err
	}
	if !results.Succeeded() {
		return errReported
	}
	return nil
}
