package viz

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/extension"
	"github.com/tulle-mesh/tulle/cli/installation"
	vizinstall "github.com/tulle-mesh/tulle/viz/install"
)

func (c *commands) uninstallCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Print the manifests of everything that the viz extension left in the cluster",
		Long: `uninstall prints the objects of the viz extension, for kubectl to delete: its cluster-wide objects, and its namespace with everything
in it. The proxies of applications, and the policies of allow-scrapes, stay.`,
		Example: `  tulle viz uninstall | kubectl delete -f -`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Connect()
			if err != nil {
				return err
			}
			namespace, err := extension.Namespace(cmd.Context(), cl, vizinstall.Extension)
			if err != nil {
				return err
			}
			objects, err := extension.Uninstall(cmd.Context(), cl, vizinstall.Extension, namespace)
			if err != nil {
				return err
			}
			return installation.Write(c.Out, objects, output)
		},
	}
	outputFlag(cmd, &output, "yaml", "json")
	return cmd
}

func (c *commands) pruneCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Print the objects of the viz extension that this version no longer has",
		Long: `prune prints, for kubectl to delete, the objects of the viz extension in the cluster that this version would not install with the
same values. Run it after an upgrade, or after a value that turns a part off.`,
		Example: `  tulle viz install --reuse-values --set prometheus.enabled=false | kubectl apply -f -
  tulle viz prune | kubectl delete -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.Connect()
			if err != nil {
				return err
			}
			objects, err := extension.VizExtraneous(cmd.Context(), cl, c.target())
			if err != nil {
				return err
			}
			if len(objects) == 0 {
				fmt.Fprintln(c.Err, "Nothing to prune.")
			}
			return installation.Write(c.Out, objects, output)
		},
	}
	outputFlag(cmd, &output, "yaml", "json")
	return cmd
}
