package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/tulle-mesh/tulle/cli/convert"
	"github.com/tulle-mesh/tulle/cli/manifest"
)

// transform applies change to every object of the sources, without what a cluster added to it, writes the
// manifests to stdout and the report to stderr. Nothing is written when a source cannot be read whole.
func (c *cli) transform(ctx context.Context, args []string, format string, change func(*manifest.Object) (report, error), verb string) error {
	if format != "yaml" && format != "json" {
		return fmt.Errorf("output %q: want yaml or json", format)
	}
	manifests, err := c.sources().Decode(ctx, args, nil)
	if err != nil {
		return err
	}
	var trees []map[string]any
	var reports []report
	var errs []error
	for _, m := range manifests {
		more, err := changeObjects(m.Objects, change)
		trees, reports, errs = append(trees, m.Tree), append(reports, more...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := manifest.Write(c.out, trees, format); err != nil {
		return err
	}
	writeReports(c.err, reports, verb)
	return nil
}

// changeObjects applies change to the objects of one document; it stops at the first error.
func changeObjects(objects []*manifest.Object, change func(*manifest.Object) (report, error)) ([]report, error) {
	var reports []report
	for _, o := range objects {
		written := maps.Clone(convert.Written(o.Tree)) // a tree without metadata comes back itself
		clear(o.Tree)
		maps.Copy(o.Tree, written)
		r, err := change(o)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}
