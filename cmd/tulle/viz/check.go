package viz

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/check"
)

func (c *commands) checkCommand() *cobra.Command {
	opts := check.Options{Viz: true}
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find out what is wrong with the viz extension",
		Long: `check says what is wrong with the viz extension, and where that is explained. It only reads. tulle check does the same where the
extension is installed.

With --proxy it also checks whether there are numbers of every proxy, of all namespaces or that of -n. check waits for failures that
may pass by themselves, such as pods that start.

The exit code is 1 if something is wrong (×). Warnings (‼) leave it at 0.`,
		Example: `  tulle viz check
  tulle viz -n shop check --proxy
  tulle viz check --wait=0s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Version, opts.Log, opts.Connect = cmp.Or(opts.Version, c.Version), c.Err, c.Connect
			opts.ControlNamespace, opts.Namespace = c.ControlNamespace(), c.Namespace()
			results := check.Run(cmd.Context(), opts)
			if err := results.Write(c.Out, output); err != nil {
				return err
			}
			if !results.Succeeded() {
				return c.Failed
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.Proxy, "proxy", false, "also the numbers of the proxies")
	fs.StringVar(&opts.Version, "expected-version", "", "version that CLI and extension should have (default: the CLI's)")
	fs.DurationVar(&opts.Wait, "wait", 5*time.Minute, "how long to wait for failures that may pass by themselves")
	outputFlag(cmd, &output, "table", "json", "short")
	return cmd
}
