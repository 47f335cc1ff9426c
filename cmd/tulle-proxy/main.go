// Command tulle-proxy is the sidecar of a pod: without a subcommand it serves; `init` programs the capture of the pod's
// traffic and `shutdown` asks a running proxy to end.
package main

import (
	"fmt"
	"os"
)

// version is set by the linker.
var version = "dev"

// commands are the subcommands by name. The proxy parses its few flags with the standard library: it is the binary that
// runs a thousand times.
var commands = map[string]func(args []string) error{
	"init":     runInit,
	"shutdown": runShutdown,
}

func main() {
	run, args := runProxy, os.Args[1:]
	if len(args) > 0 {
		if command, ok := commands[args[0]]; ok {
			run, args = command, args[1:]
		}
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "tulle-proxy:", err)
		os.Exit(1)
	}
}
