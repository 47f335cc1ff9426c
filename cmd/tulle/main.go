// Command tulle installs, checks and inspects the mesh.
//
// It owns what a person types and reads: flags and printing, one command a file. What a command does is in the packages
// below cli; this one decides nothing. The one idea: the cluster is behind one small value, cluster.Client, so that
// every command runs in a test against a fake one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tulle-mesh/tulle/viz/table"
)

//go:generate go test . -run ^TestReferenceIsCurrent$ -update

// Version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, connect))
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, std streams, connect connector) int {
	root := newRoot(args[0], std, connect)
	if extension, rest, ok := findExtension(root, args[1:]); ok {
		return runExtension(ctx, extension, rest, std)
	}
	if instead := elsewhere(root, args[1:]); instead != "" {
		fmt.Fprintf(std.err, "%s: %s\n", root.Name(), instead)
		return 1
	}
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return 1
	}
	if code := exitError(0); errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintf(std.err, "%s: %s\n", root.Name(), table.SafeLines(err.Error())) // it may quote what is in the cluster
	return 1
}

// errReported is returned by a command that has already written what went wrong.
var errReported = errors.New("reported")

// exitError is returned by a command that has written all there is to say and whose exit code is not 1.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
