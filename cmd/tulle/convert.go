package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/convert"
	"github.com/tulle-mesh/tulle/cli/manifest"
)

// codeLossy is convert's exit code when something of the input has no counterpart.
const codeLossy = 3

func (c *cli) convertCommand() *cobra.Command {
	var output, until string
	var options convert.Options
	cmd := &cobra.Command{
		Use:   "convert [flags] FILE|DIR|-...",
		Short: "Turn manifests of Istio, SMI and of tutorials into manifests of this mesh",
		Long: `convert writes manifests that this mesh understands: Istio's VirtualService, DestinationRule, PeerAuthentication and
AuthorizationPolicy, SMI's TrafficSplit, and the kinds and fields that tutorials invented for Linkerd. It passes other objects on.
A report on stderr says of each field whether it was kept, converted, approximated or dropped. The exit code is 3 if one was dropped.

convert drops a rule whose restriction has no counterpart; it never widens a rule. It reads ports and selectors from Services: put
these among the files. A value of the wrong type, such as exact: on or weight: fifty, and a misspelled field that would change the
meaning are errors that name the field. Then convert writes nothing.`,
		Example: `  tulle convert istio/ > tulle.yaml
  kubectl get virtualservice,destinationrule,service -A -o yaml | tulle convert - | kubectl apply -f -`,
		Args: atLeastOne("a file, a directory, a URL, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if until != "" {
				var err error
				if options.FaultUntil, err = time.Parse(time.RFC3339, until); err != nil {
					return fmt.Errorf("--fault-until %q: want a time such as 2026-12-31T18:00:00Z", until)
				}
			}
			if options.Port < 1 || options.Port > 65535 {
				return fmt.Errorf("--port %d: want 1 to 65535", options.Port)
			}
			return c.convert(cmd.Context(), args, output, options)
		},
	}
	fs := cmd.Flags()
	outputFlag(cmd, &output, "yaml", "json")
	fs.IntVar(&options.Port, "port", 80, "port of Services and pods that the input does not describe")
	fs.StringVar(&until, "fault-until", "", "when injected faults end, RFC 3339; without it they are dropped")
	return cmd
}

func (c *cli) convert(ctx context.Context, args []string, output string, options convert.Options) error {
	objects, err := c.sources().Objects(ctx, args)
	if err != nil {
		return err
	}
	trees := make([]map[string]any, len(objects))
	var errs []error
	for i, o := range objects {
		trees[i] = o.Tree
		for _, wrong := range convert.CheckTypes(o.Tree) {
			errs = append(errs, o.Mistyped(wrong))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	result := convert.Convert(trees, options)
	if err := manifest.Write(c.out, result.Objects, output); err != nil {
		return err
	}
	result.WriteReport(c.err)
	if result.Lossy() {
		return exitError(codeLossy)
	}
	return nil
}
