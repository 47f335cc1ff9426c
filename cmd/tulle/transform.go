package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/tulle-mesh/tulle/cli/convert"
)

// transform applies change to every object of the sources, without what a cluster added to it, writes the
// manifests to stdout and the report to stderr. Nothing is written when a source cannot be read whole.
func (c *cli) transform(ctx context.Context, args []string, format string, change func(*manifestObject) (report, error), verb string) error {
	if format != "yaml" && format != "json" {
		return fmt.Errorf("output %q: want yaml or json", format)
	}
	manifests, err := c.readManifests(ctx, args, nil)
	if err != nil {
		return err
	}
	var trees []map[string]any
	var reports []report
	var errs []error
	for _, m := range manifests {
		more, err := changeObjects(m.objects, change)
		trees, reports, errs = append(trees, m.tree), append(reports, more...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := c.writeTrees(trees, format); err != nil {
		return err
	}
	writeReports(c.err, reports, verb)
	return nil
}

func sourceName(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

// changeObjects applies change to the objects of one document; it stops at the first error.
func changeObjects(objects []*manifestObject, change func(*manifestObject) (report, error)) ([]report, error) {
	var reports []report
	for _, o := range objects {
		written := maps.Clone(convert.Written(o.tree)) // a tree without metadata comes back itself
		clear(o.tree)
		maps.Copy(o.tree, written)
		r, err := change(o)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (c *cli) writeTrees(trees []map[string]any, format string) error {
	if format == "json" {
		enc := json.NewEncoder(c.out)
		for _, tree := range trees {
			if err := enc.Encode(tree); err != nil {
				return fmt.Errorf("write manifest: %w", err)
			}
		}
		return nil
	}
	data, err := encodeDocuments(trees)
	if err != nil {
		return err
	}
	_, err = c.out.Write(data)
	return err
}
