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
		Long: `uninject removes the proxy's containers and volumes from the manifests, and the annotations and labels below linkerd.io, and prints
them. The annotation linkerd.io/inject: disabled and the config.linkerd.io annotations stay.`,
		Example: `  kubectl get deploy -o yaml | tulle uninject - | kubectl apply -f -`,
		Args:    atLeastOne("a file, a directory, a URL, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.transform(cmd.Context(), args, output, injection.Remove, "uninjected")
		},
	}
	outputFlag(cmd, &output, "yaml", "json")
	return cmd
}
