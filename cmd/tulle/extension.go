package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// findExtension returns the program that implements an unknown command: tulle-X, else linkerd-X, from PATH. It gets all
// arguments but the verb, so that flags before the verb reach it too.
func findExtension(root *cobra.Command, args []string) (program string, rest []string, ok bool) {
	found, _, err := root.Find(args)
	if err == nil || found != root {
		return "", nil, false
	}
	verb := firstWord(root, args)
	if verb < 0 || strings.ContainsAny(args[verb], `/\`) {
		return "", nil, false
	}
	for _, prefix := range []string{"tulle-", "linkerd-"} {
		if path, err := exec.LookPath(prefix + args[verb]); err == nil {
			return path, slices.Delete(slices.Clone(args), verb, verb+1), true
		}
	}
	return "", nil, false
}

// firstWord returns the index of the first argument that is neither a flag nor a flag's value, or -1.
func firstWord(root *cobra.Command, args []string) int {
	flags := root.PersistentFlags()
	for i := 0; i < len(args); i++ {
		name, isLong := strings.CutPrefix(args[i], "--")
		switch {
		case args[i] == "--":
			return -1
		case !strings.HasPrefix(args[i], "-"):
			return i
		case strings.Contains(name, "="):
		case isLong:
			if f := flags.Lookup(name); f != nil && f.NoOptDefVal == "" {
				i++
			}
		case len(args[i]) == 2:
			if f := flags.ShorthandLookup(args[i][1:]); f != nil && f.NoOptDefVal == "" {
				i++
			}
		}
	}
	return -1
}

// runExtension runs the program to its end and returns its exit code.
func runExtension(ctx context.Context, program string, args []string, std streams) int {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.in, std.out, std.err
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintf(std.err, "run %s: %v\n", program, err)
		return 1
	}
	return 0
}
