// Package lifecycle holds the flags and the printing of the commands that change or remove an installation, one command
// a file.
//
// It owns what a person types and reads. Packages installation and upgrade, under /cli, decide. The one idea: what
// changes the installation is printed for kubectl.
package lifecycle

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/cli/manifest"
)

// Env is what the program provides to the commands. Its fields must be set.
type Env struct {
	Out, Err io.Writer
	// Connect returns a client of the cluster that the flags name. It sends no request.
	Connect func() (*cluster.Client, error)
	// ControlNamespace returns the namespace of the control plane that the flags name.
	ControlNamespace func() string
	// Namespace returns the value of -n, or "".
	Namespace func() string
	// Sources reads files that the command line names.
	Sources manifest.Sources
	// Version is the version of the program.
	Version string
	// OutputFlag adds -o with formats.
	OutputFlag func(cmd *cobra.Command, output *string, formats ...string)
	// SettingsFlags adds the flags that change an installation. The function that it returns sets the options from them.
	SettingsFlags func(cmd *cobra.Command, opts *installation.Options) func()
}

// commands holds what all commands share.
type commands struct{ Env }

// New returns the commands.
func New(env Env) []*cobra.Command {
	c := &commands{env}
	return []*cobra.Command{c.upgradeCommand(), c.pruneCommand(), c.uninstallCommand()}
}
