package kube

import (
	"context"
	"errors"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
)

// Read lists every object that the model needs, once, as the events that a Watcher begins with.
func Read(ctx context.Context, c Clients) ([]model.Event, error) {
	return read(ctx, c, everywhere)
}

// Places says in which namespace the objects of a resource are listed; "" is all of them. ok is false if they are not.
type Places func(schema.GroupResource) (namespace string, ok bool)

func everywhere(schema.GroupResource) (namespace string, ok bool) { return metav1.NamespaceAll, true }

// ReadPlaces lists what is in some places. It leaves out what the model does not read of an object.
func ReadPlaces(ctx context.Context, c Clients, in Places) ([]model.Event, error) {
	events, err := read(ctx, c, in)
	if err != nil {
		return nil, err
	}
	for i := range events {
		stripped, err := strip(events[i].Object)
		if err != nil {
			return nil, err
		}
		if o, ok := stripped.(metav1.Object); ok {
			events[i].Object = o
		}
	}
	return events, nil
}

func read(ctx context.Context, c Clients, in Places) ([]model.Event, error) {
	core, err := readCore(ctx, c.Kubernetes, in)
	if err != nil {
		return nil, err
	}
	configuration, err := readConfiguration(ctx, c.Dynamic, in)
	if err != nil {
		return nil, err
	}
	return append(core, configuration...), nil
}

// readCore lists the objects of the kinds that every cluster has.
func readCore(ctx context.Context, c kubernetes.Interface, in Places) (out []model.Event, err error) {
	all := metav1.ListOptions{}
	core := c.CoreV1()
	for _, kind := range []struct {
		group, resource string
		list            func(namespace string) (runtime.Object, error)
	}{
		{"", "nodes", func(string) (runtime.Object, error) { return core.Nodes().List(ctx, all) }},
		{"", "namespaces", func(string) (runtime.Object, error) { return core.Namespaces().List(ctx, all) }},
		{"", "services", func(n string) (runtime.Object, error) { return core.Services(n).List(ctx, all) }},
		{discoveryv1.GroupName, "endpointslices", func(n string) (runtime.Object, error) {
			return c.DiscoveryV1().EndpointSlices(n).List(ctx, all)
		}},
		{"", "pods", func(n string) (runtime.Object, error) { return core.Pods(n).List(ctx, all) }},
	} {
		namespace, ok := in(schema.GroupResource{Group: kind.group, Resource: kind.resource})
		if !ok {
			continue
		}
		list, listErr := kind.list(namespace)
		if listErr != nil {
			err = errors.Join(err, fmt.Errorf("list %s: %w", kind.resource, listErr))
			continue
		}
		err = errors.Join(err, apimeta.EachListItem(list, func(o runtime.Object) error {
			if object, ok := o.(metav1.Object); ok {
				out = append(out, model.Event{Object: object})
			}
			return nil
		}))
	}
	return out, err
}

// readConfiguration lists the objects that configure the mesh. A kind that the cluster lacks has none. An object that
// cannot be decoded is left out, because no part of it is active.
func readConfiguration(ctx context.Context, c dynamic.Interface, in Places) ([]model.Event, error) {
	var out []model.Event
	for _, k := range kinds.Configuration() {
		namespace, ok := in(k.Resource("").GroupResource())
		if !ok {
			continue
		}
		events, err := readKind(ctx, Clients{Dynamic: c}, k, namespace)
		if err != nil {
			return nil, err
		}
		out = append(out, events...)
	}
	return out, nil
}

// pageSize bounds one answer of the API server.
const pageSize = 500

func list(ctx context.Context, c dynamic.ResourceInterface) ([]unstructured.Unstructured, error) {
	var items []unstructured.Unstructured
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.List(ctx, opts)
		if err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if opts.Continue = page.GetContinue(); opts.Continue == "" {
			return items, nil
		}
	}
}
