package identity

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/revocation"
)

func (e Env) revokeCommand() *cobra.Command {
	var opts revocation.Options
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Make all proxies refuse a certificate, or a ServiceAccount",
		Long: `revoke adds peers to the list of those that every proxy refuses although their certificates are valid. Within seconds their
connections are cut, and new ones fail. A certificate is named by its serial number, as tulle identity prints it. A
ServiceAccount stands for all of its certificates.

The list is an annotation of the control plane's namespace. Who may change that namespace may revoke.`,
		Example: `  tulle identity revoke --service-account shop/web
  tulle identity revoke --serial 1f:a0:07
  tulle identity revoke --list
  tulle identity revoke --undo --service-account shop/web`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := e.Connect()
			if err != nil {
				return err
			}
			opts.Namespace, opts.Out = e.ControlNamespace(), e.Out
			return revocation.Run(cmd.Context(), cl, opts)
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&opts.Serials, "serial", nil, "serial number of a certificate, in hexadecimal")
	fs.StringSliceVar(&opts.Accounts, "service-account", nil, "NAMESPACE/NAME of a ServiceAccount")
	fs.BoolVar(&opts.Undo, "undo", false, "trust them again")
	fs.BoolVar(&opts.List, "list", false, "print the list, and change nothing")
	fs.BoolVar(&opts.DryRun, "dry-run", false, "print what would change, and change nothing")
	cmd.MarkFlagsMutuallyExclusive("list", "undo")
	cmd.MarkFlagsMutuallyExclusive("list", "dry-run")
	return cmd
}
