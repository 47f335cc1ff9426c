package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// outputFlag adds -o, which takes one of the formats; the first is the default. The command refuses others before it
// runs.
func outputFlag(cmd *cobra.Command, output *string, formats ...string) {
	last := len(formats) - 1
	text := strings.Join(formats[:last], ", ") + " or " + formats[last]
	cmd.Flags().StringVarP(output, "output", "o", formats[0], "format: "+text)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, *output) {
			return fmt.Errorf("output %q: want %s", *output, text)
		}
		return nil
	}
}

// writeJSON writes a value for people and for scripts.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// atLeastOne refuses a command line without arguments and says which are wanted.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("name %s", what)
		}
		return nil
	}
}

// elsewhere returns what to do instead of an unknown verb: linkerd's verbs have an answer of their own, and for others
// it names those that are nearly so. It is "" if the verb is known.
func elsewhere(root *cobra.Command, args []string) string {
	found, _, err := root.Find(args)
	verb := firstWord(root, args)
	if err == nil || found != root || verb < 0 {
		return ""
	}
	switch name := args[verb]; name {
	case "stat", "stat-inbound", "stat-outbound", "routes", "edges", "list", "tap", "top", "dashboard":
		return "it is now `tulle viz " + name + "`"
	case "jaeger":
		return "proxies send spans to a collector of yours; see docs/tracing.md"
	case "multicluster":
		return "this version has no " + name
	}
	return noSuchCommand(root, args[verb:]).Error()
}

// exactlyOne refuses a command line with none or several arguments.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("name %s, and nothing else", what)
		}
		return nil
	}
}
