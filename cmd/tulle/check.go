package main

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/cli/cluster"
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
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find out what is wrong with the installation",
		Long: `check says what is wrong with an installation, and where that is explained. It only reads.

With --pre it checks whether Tulle can be installed. With --proxy it also checks the proxies, of all namespaces or that of -n, and asks
each proxy whether it is connected to the control plane. check waits for failures that may pass by themselves, such as pods that
start. It does not wait where no pod has a proxy and none is about to, or where the API server refuses a workload's pods.

The exit code is 1 if something is wrong (×). Warnings (‼) leave it at 0.`,
		Example: `  tulle check --pre
  tulle check
  tulle -n shop check --proxy
  tulle check --wait=0s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.warnWithoutMeaning(cmd.Flags(), checkFlagsWithoutMeaning)
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
	fs.BoolVar(&opts.CRDs, "crds", false, "only the custom resource definitions")
	for _, f := range checkFlagsWithoutMeaning {
		acceptWithoutMeaning(fs, f)
	}
	cmd.MarkFlagsMutuallyExclusive("pre", "proxy", "crds")
	return cmd
}

func (c *cli) check(ctx context.Context, opts check.Options, output string) error {
	opts.Version = cmp.Or(opts.Version, version)
	opts.ControlNamespace, opts.Namespace, opts.Log = c.flags.controlNamespace, c.flags.namespace, c.err
	opts.Connect = func() (*cluster.Client, error) { return c.connect(c.flags) }
	results := check.Run(ctx, opts)
	if err := results.Write(c.out, output); err != nil {
		return err
	}
	if !results.Succeeded() {
		return errReported
	}
	return nil
}
