package main

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/injection"
)

func (c *cli) uninjectCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "uninject [flags] FILE|DIR|URL|-...",
		Short: "Remove the proxy from workloads in a manifest",
		Long: `uninject writes the manifests again without the proxy's containers and volumes, and without the annotations and labels below
linkerd.io. The annotation linkerd.io/inject: disabled stays, and so do the config.linkerd.io annotations.`,
		Example: `  kubectl get deploy -o yaml | tulle uninject - | kubectl apply -f -`,
		Args:    atLeastOne("a file, a directory, a URL, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.transform(cmd.Context(), args, output, injection.Remove, "uninjected")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "format: yaml or json")
	return cmd
}
