// Command tulle-controller is the control plane: one binary, one component a process.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Version is set by the linker.
var version = "dev"

func main() {
	root := &cobra.Command{
		Use:           "tulle-controller",
		Short:         "Tulle's control plane: one component a process",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(identityCommand(), destinationCommand(), injectorCommand(), metricsAPICommand(),
		tapCommand(), webCommand())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "tulle-controller:", err)
		os.Exit(1)
	}
}
