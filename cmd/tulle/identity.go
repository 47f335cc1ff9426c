package main

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cmd/tulle/identity"
)

func (c *cli) identityCommand() *cobra.Command {
	return identity.New(identity.Env{
		Out:              c.out,
		Connect:          func() (*cluster.Client, error) { return c.connect(c.flags) },
		ControlNamespace: func() string { return c.flags.controlNamespace },
	})
}
