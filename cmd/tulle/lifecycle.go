package main

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cmd/tulle/lifecycle"
)

// lifecycleCommands returns the commands that change or remove an installation.
func (c *cli) lifecycleCommands() []*cobra.Command {
	return lifecycle.New(lifecycle.Env{
		Out: c.out, Err: c.err,
		Connect:          func() (*cluster.Client, error) { return c.connect(c.flags) },
		ControlNamespace: func() string { return c.flags.controlNamespace },
		Namespace:        func() string { return c.flags.namespace },
		Sources:          c.sources(),
		Version:          version,
		OutputFlag:       outputFlag,
		SettingsFlags:    c.settingsFlags,
	})
}
