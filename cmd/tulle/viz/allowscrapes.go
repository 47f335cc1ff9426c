package viz

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/install"
	vizinstall "github.com/tulle-mesh/tulle/viz/install"
)

func (c *commands) allowScrapesCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "allow-scrapes -n NAMESPACE",
		Short: "Print the policy under which Linkerd lets Prometheus read the proxies of a namespace",
		Long: `allow-scrapes prints a Server, an HTTPRoute and an AuthorizationPolicy that let the Prometheus of the viz extension read the metrics of
the proxies in a namespace whose ports deny everybody.

Tulle needs no such policy. The port of a proxy's metrics bypasses the capture, because the kubelet's probes come to it: it serves
/metrics, /ready and /live to everybody, whatever the policy of the namespace. The output is for manifests that Linkerd applies too.`,
		Example: `  tulle viz allow-scrapes -n shop | kubectl apply -f -`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.Namespace() == "" {
				return errors.New("which namespace? give -n")
			}
			manifests, err := vizinstall.AllowScrapes(c.Namespace(), c.target())
			if err == nil && output == "json" {
				manifests, err = install.JSON(manifests)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(c.Err,
				"note: proxies of this mesh serve their metrics without this policy too; see docs/viz.md#scraping")
			_, err = c.Out.Write(manifests)
			return err
		},
	}
	outputFlag(cmd, &output, "yaml", "json")
	return cmd
}
