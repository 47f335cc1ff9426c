package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/cli/learn"
)

// exitCutOff is the exit code of what-if if a caller would or may be cut off.
const exitCutOff = exitError(3)

func (c *cli) whatIfCommand(seen *trafficFlags) *cobra.Command {
	var files []string
	var output string
	cmd := &cobra.Command{
		Use:   "what-if -f FILE",
		Short: "Say which callers a change of policy would deny or allow",
		Long: `what-if reads objects as kubectl apply does. It says which callers they would newly deny or allow, and at which rate these called in
the time window. It evaluates Servers, authorizations, routes and namespaces, with the code of the controller and of the proxy. It
changes nothing. -n is the namespace of objects that name none.

EFFECT is one of
  denied          policy allows the caller now, and would deny it
  allowed         policy denies the caller now, and would allow it
  may-be-denied   denied or not: that depends on the caller's address, or on which route its requests match; metrics show neither
  may-be-allowed  allowed or not, for the same reasons

SEEN is "earlier" for callers that called before the time window, or only once in it.

The exit code is 3 if a caller is denied or may-be-denied, and 0 otherwise. Callers that the numbers do not show cannot change it;
stderr says what is missing.`,
		Example: `  tulle policy what-if -f policies.yaml
  tulle policy what-if -n shop -t 6h -o json -f manifests/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.whatIf(cmd.Context(), *seen, files, output) },
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil,
		"file, directory, URL, or - for standard input, as if it were applied; may be repeated")
	outputFlag(cmd, &output, "table", "json")
	return cmd
}

func (c *cli) whatIf(ctx context.Context, seen trafficFlags, files []string, output string) error {
	if len(files) == 0 {
		return errors.New("name the files of the change with -f")
	}
	if err := seen.check(); err != nil {
		return err
	}
	objects, err := c.sources().Objects(ctx, files)
	if err != nil {
		return err
	}
	cl, err := c.connect(c.flags)
	if err != nil {
		return err
	}
	config, events, err := explain.Read(ctx, cl, c.flags.controlNamespace)
	if err != nil {
		return err
	}
	before := learn.NewWorld(config, events)
	after, notes, err := before.Apply(events, learn.Manifests{Namespace: cl.Namespace, Now: time.Now(), Objects: objects})
	if err != nil {
		return err
	}
	c.note(notes)
	evaluated := learn.Evaluation{Changes: []learn.Change{}}
	affected := learn.Affected(before, after)
	if len(affected) > 0 {
		found, window, err := c.observedTraffic(ctx, cl, seen, before, affected)
		if err != nil {
			return err
		}
		evaluated = learn.WhatIf(before, after, found, window.Seconds())
		c.note(evaluated.Notes)
	}
	if output == "json" {
		err = writeJSON(c.out, evaluated.Changes)
	} else if len(evaluated.Changes) > 0 {
		err = learn.WriteTable(c.out, evaluated.Changes)
	}
	if err != nil {
		return err
	}
	if len(affected) == 0 {
		c.note([]string{"The change affects no pod that runs."})
		return nil
	}
	text, cutOff := summary(evaluated)
	c.note([]string{text})
	if cutOff {
		return exitCutOff
	}
	return nil
}

// summary returns a sentence about an evaluation, and whether a caller would or may be cut off.
func summary(e learn.Evaluation) (text string, cutOff bool) {
	text = fmt.Sprintf("Of %d callers that were seen, ", e.Callers)
	switch certain, possible := e.CutOff(); {
	case possible > 0:
		return text + fmt.Sprintf("%d would and %d may be cut off.", certain, possible), true
	case certain > 0:
		return text + fmt.Sprintf("%d would be cut off.", certain), true
	case e.Partial:
		return fmt.Sprintf(
			"None of the %d callers that were evaluated would be cut off. There may be others: see the notes above.",
			e.Callers), false
	}
	return text + "none would be cut off.", false
}
