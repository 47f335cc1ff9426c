package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tulle-mesh/tulle/controller/model"
)

// ReadConfiguration lists the objects that configure the mesh, once, as the events that a Watcher begins with. A kind
// that the cluster lacks has none. An object that cannot be decoded is left out, because no part of it is active.
func ReadConfiguration(ctx context.Context, c dynamic.Interface) ([]model.Event, error) {
	var out []model.Event
	for _, k := range kinds() {
		for _, version := range k.versions {
			items, err := list(ctx, c, k.resource(version))
			if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", k.definition(), err)
			}
			for i := range items {
				if o := decode(k, &items[i]); o.err == nil {
					out = append(out, model.Event{Object: o.Object, Unknown: o.unknown})
				}
			}
			break
		}
	}
	return out, nil
}

// pageSize bounds one answer of the API server.
const pageSize = 500

func list(ctx context.Context, c dynamic.Interface, resource schema.GroupVersionResource) ([]unstructured.Unstructured,
	error) {
	var items []unstructured.Unstructured
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.Resource(resource).List(ctx, opts)
		if err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return items, nil
		}
	}
}
