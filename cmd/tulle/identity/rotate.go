package identity

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/rotation"
)

func (e Env) rotateCommand() *cobra.Command {
	var opts rotation.Options
	var anchors, cert, key string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the trust anchor while the mesh runs",
		Long: `rotate replaces the trust anchors of the mesh in three phases. It adds the new anchor to the bundle, moves the issuer to it, and
drops the old anchors. A phase begins when every proxy has acknowledged the one before. No pod restarts.

The new anchor is one that Tulle makes, or yours: give the files that the installation was given, of the new anchor. Where another
program keeps the issuer or the bundle, rotate waits for it to do its part.

The rotation's state is in the cluster. Interrupt the command at any time: the same command goes on. See docs/operate/rotate.md.`,
		Example: `  tulle identity rotate --dry-run
  tulle identity rotate
  tulle identity rotate --status
  tulle identity rotate --identity-trust-anchors-file new-ca.crt --identity-issuer-certificate-file new-issuer.crt \
    --identity-issuer-key-file new-issuer.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, file := range []struct {
				name string
				to   *string
			}{{anchors, &opts.Given.Anchors}, {cert, &opts.Given.IssuerCert}, {key, &opts.Given.IssuerKey}} {
				if file.name == "" {
					continue
				}
				text, err := os.ReadFile(file.name)
				if err != nil {
					return fmt.Errorf("read certificates: %w", err)
				}
				*file.to = string(text)
			}
			for _, pod := range opts.Skip {
				if strings.Count(pod, "/") != 1 {
					return fmt.Errorf("--skip %q: want NAMESPACE/POD", pod)
				}
			}
			cl, err := e.Connect()
			if err != nil {
				return err
			}
			opts.Namespace, opts.Out = e.ControlNamespace(), e.Out
			return rotation.Run(cmd.Context(), cl, opts)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.DryRun, "dry-run", false, "print what would happen next, and change nothing")
	fs.BoolVar(&opts.Status, "status", false, "print where the rotation stands, and change nothing")
	fs.StringVar(&anchors, "identity-trust-anchors-file", "", "PEM file of the new trust anchors, where they are yours")
	fs.StringVar(&cert, "identity-issuer-certificate-file", "", "PEM file of the new issuer, where it is yours")
	fs.StringVar(&key, "identity-issuer-key-file", "", "PEM file of the new issuer's key")
	fs.StringSliceVar(&opts.Skip, "skip", nil, "NAMESPACE/POD that is not waited for, such as one that does not answer")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "status")
	return cmd
}
