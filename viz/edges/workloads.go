package edges

import (
	"context"
	"slices"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// Workloads returns the edges between workloads of every kind, each with its kind before its name, as in deploy/web.
// They are those that Find returns for all kinds but pods. The namespace "" is every namespace.
func Workloads(ctx context.Context, src metrics.Source, cluster resource.Lister, namespace string) (Result, error) {
	found, notes, err := everyOwner().find(ctx, src, cluster, namespace)
	slices.SortFunc(found, compare)
	return Result{Edges: slices.Compact(found), Notes: notes}, err
}

// End is how series name the workload at one end of their requests, whatever its kind.
type End struct {
	// Namespace is the label of its namespace, and By are all labels that Name reads.
	Namespace string
	By        []string
	label     func(owner) string
}

// Source names the workload whose proxy has the series, and Destination the one that its requests go to.
var (
	Source      = newEnd("namespace", ownLabel)
	Destination = newEnd("dst_namespace", owner.destination)
)

func newEnd(namespace string, label func(owner) string) End {
	e := End{Namespace: namespace, By: []string{namespace}, label: label}
	for _, o := range owners {
		e.By = append(e.By, label(o))
	}
	return e
}

// Name returns the workload's name with its kind before it, as Workloads does; "" if the labels name none.
func (e End) Name(labels map[string]string) string {
	for _, o := range owners {
		if name := labels[e.label(o)]; name != "" {
			return o.prefix + "/" + name
		}
	}
	return ""
}
