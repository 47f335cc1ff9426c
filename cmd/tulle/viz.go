package main

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cmd/tulle/viz"
)

func (c *cli) vizCommand() *cobra.Command {
	cmd := viz.New(c.vizEnv())
	cmd.Args = noSuchCommand
	return cmd
}

// vizEnv returns what the viz commands, and the choice of a source of numbers, need of the program.
func (c *cli) vizEnv() viz.Env {
	return viz.Env{
		Out: c.out, Err: c.err,
		Connect:          func() (*cluster.Client, error) { return c.connect(c.flags) },
		ControlNamespace: func() string { return c.flags.controlNamespace },
		Namespace:        func() string { return c.flags.namespace },
		Verbose:          func() bool { return c.flags.verbose },
		Read:             c.sources().Read,
		Version:          version,
		Failed:           errReported,
	}
}
