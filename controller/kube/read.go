package kube

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
)

// Read lists every object that the model needs, once, as the events that a Watcher begins with.
func Read(ctx context.Context, c Clients) ([]model.Event, error) {
	core, err := readCore(ctx, c.Kubernetes)
	if err != nil {
		return nil, err
	}
	configuration, err := readConfiguration(ctx, c.Dynamic)
	if err != nil {
		return nil, err
	}
	return append(core, configuration...), nil
}

// readCore lists the objects of the kinds that every cluster has.
func readCore(ctx context.Context, c kubernetes.Interface) ([]model.Event, error) {
	all := metav1.ListOptions{}
	nodes, errNodes := c.CoreV1().Nodes().List(ctx, all)
	namespaces, errNamespaces := c.CoreV1().Namespaces().List(ctx, all)
	services, errServices := c.CoreV1().Services(metav1.NamespaceAll).List(ctx, all)
	endpoints, errSlices := c.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, all)
	pods, errPods := c.CoreV1().Pods(metav1.NamespaceAll).List(ctx, all)
	if err := errors.Join(errNodes, errNamespaces, errServices, errSlices, errPods); err != nil {
		return nil, err
	}
	var out []model.Event
	for i := range nodes.Items {
		out = append(out, model.Event{Object: &nodes.Items[i]})
	}
	for i := range namespaces.Items {
		out = append(out, model.Event{Object: &namespaces.Items[i]})
	}
	for i := range services.Items {
		out = append(out, model.Event{Object: &services.Items[i]})
	}
	for i := range endpoints.Items {
		out = append(out, model.Event{Object: &endpoints.Items[i]})
	}
	for i := range pods.Items {
		out = append(out, model.Event{Object: &pods.Items[i]})
	}
	return out, nil
}

// readConfiguration lists the objects that configure the mesh. A kind that the cluster lacks has none. An object that
// cannot be decoded is left out, because no part of it is active.
func readConfiguration(ctx context.Context, c dynamic.Interface) ([]model.Event, error) {
	var out []model.Event
	for _, k := range kinds.Configuration() {
		events, err := readKind(ctx, Clients{Dynamic: c}, k, metav1.NamespaceAll)
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
