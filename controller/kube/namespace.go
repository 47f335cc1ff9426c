package kube

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
)

// policyKinds are the resources that the policy of a pod depends on. Policies may name authentications of other
// namespaces.
var policyKinds = map[string]struct{ everywhere bool }{
	"servers.policy.linkerd.io":                {},
	"serverauthorizations.policy.linkerd.io":   {},
	"authorizationpolicies.policy.linkerd.io":  {},
	"meshtlsauthentications.policy.linkerd.io": {everywhere: true},
	"networkauthentications.policy.linkerd.io": {everywhere: true},
	"httproutes.policy.linkerd.io":             {},
	"httproutes.gateway.networking.k8s.io":     {},
	"grpcroutes.gateway.networking.k8s.io":     {},
}

// ReadPolicy lists what the policy of a namespace's pods depends on, at once: Read takes longer. A kind that the
// cluster lacks has no objects.
func ReadPolicy(ctx context.Context, c Clients, namespace string) ([]model.Event, error) {
	all := kinds.Configuration()
	lists := make([][]model.Event, len(all)+1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		lists[0], err = readPods(ctx, c, namespace)
		return err
	})
	for i, k := range all {
		where, ok := policyKinds[k.Definition()]
		if !ok {
			continue
		}
		at := namespace
		if where.everywhere {
			at = metav1.NamespaceAll
		}
		group.Go(func() (err error) {
			lists[i+1], err = readKind(ctx, c, k, at)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(lists...), nil
}

// readPods reads a namespace and its pods.
func readPods(ctx context.Context, c Clients, namespace string) ([]model.Event, error) {
	ns, err := c.Kubernetes.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get namespace: %w", err)
	}
	pods, err := c.Kubernetes.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	out := []model.Event{{Object: ns}}
	for i := range pods.Items {
		out = append(out, model.Event{Object: &pods.Items[i]})
	}
	return out, nil
}

// readKind lists the objects of a kind, in the best version that the cluster has. An object that cannot be decoded is
// left out, because no part of it is active.
func readKind(ctx context.Context, c Clients, k kinds.Kind, namespace string) (out []model.Event, err error) {
	for _, version := range k.Versions {
		items, err := list(ctx, c.Dynamic.Resource(k.Resource(version)).Namespace(namespace))
		if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.Definition(), err)
		}
		for i := range items {
			if o := decode(k, &items[i]); o.err == nil {
				out = append(out, model.Event{Object: o.Object, Unknown: o.unknown})
			}
		}
		break
	}
	return out, nil
}
