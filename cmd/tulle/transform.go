package main

import (
	"context"
	"errors"

	"github.com/tulle-mesh/tulle/cli/injection"
	"github.com/tulle-mesh/tulle/cli/manifest"
)

// transform applies change to every object of the sources, without what a cluster added to it, writes the
// manifests to stdout and the report to stderr. Nothing is written when a source cannot be read whole.
func (c *cli) transform(ctx context.Context, args []string, format string,
	change func(*manifest.Object) (injection.Report, error), verb string) error {
	manifests, err := c.sources().Decode(ctx, args, nil)
	if err != nil {
		return err
	}
	var trees []map[string]any
	var reports []injection.Report
	var errs []error
	for _, m := range manifests {
		more, err := injection.Change(m.Objects, change)
		trees, reports, errs = append(trees, m.Tree), append(reports, more...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := manifest.Write(c.out, trees, format); err != nil {
		return err
	}
	injection.WriteReports(c.err, reports, verb)
	return nil
}
