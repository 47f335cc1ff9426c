package explain

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// Resources returns what analyze reads, with the kind of their objects.
func Resources() map[schema.GroupVersionResource]string {
	out := map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "services"}: "Service", {Version: "v1",
			Resource: "namespaces"}: "Namespace", {Version: "v1", Resource: "pods"}: "Pod",
		{Group: "apps", Version: "v1", Resource: "deployments"}:                "Deployment",
		{Group: "apps", Version: "v1", Resource: "statefulsets"}:               "StatefulSet",
		{Group: "apps", Version: "v1", Resource: "daemonsets"}:                 "DaemonSet",
		{Group: "batch", Version: "v1", Resource: "cronjobs"}:                  "CronJob",
		{Group: "batch", Version: "v1", Resource: "jobs"}:                      "Job",
		{Group: gatewayGroup, Version: "v1", Resource: "httproutes"}:           "HTTPRoute",
		{Group: gatewayGroup, Version: "v1", Resource: "grpcroutes"}:           "GRPCRoute",
		{Group: gatewayGroup, Version: "v1", Resource: "tlsroutes"}:            "TLSRoute",
		{Group: gatewayGroup, Version: "v1", Resource: "tcproutes"}:            "TCPRoute",
		{Group: gatewayGroup, Version: "v1beta1", Resource: "referencegrants"}: "ReferenceGrant",
	}
	for _, k := range v1alpha1.Kinds() {
		out[k.Resource()] = k.Name
	}
	return out
}

// OlderVersions returns the versions, best first, in which a resource is read where the cluster does not serve the one
// of Resources: it may have the definitions of an older Gateway API, or of an older Linkerd.
func OlderVersions(resource schema.GroupVersionResource) []string {
	if resource.Group == gatewayGroup {
		return map[string][]string{
			"httproutes": {"v1beta1"}, "grpcroutes": {"v1alpha2"}, "tlsroutes": {"v1alpha3",
				"v1alpha2"}, "tcproutes": {"v1alpha2"},
			"referencegrants": {"v1", "v1alpha2"},
		}[resource.Resource]
	}
	for _, k := range v1alpha1.Kinds() {
		if k.Resource() == resource {
			older := slices.Clone(k.Versions[:len(k.Versions)-1])
			slices.Reverse(older)
			return older
		}
	}
	return nil
}

const gatewayGroup = "gateway.networking.k8s.io"

// Objects reads everything that the checks of cli/analyze look at. A kind that the cluster does not know has no
// objects.
func Objects(ctx context.Context, cl *cluster.Client) ([]map[string]any, error) {
	resources := Resources()
	order := slices.SortedFunc(maps.Keys(resources), func(a, b schema.GroupVersionResource) int {
		return strings.Compare(a.String(), b.String())
	})
	var trees []map[string]any
	for _, resource := range order {
		kind := resources[resource]
		more, err := listAll(ctx, cl, resource, kind)
		for _, version := range OlderVersions(resource) {
			if apierrors.IsNotFound(err) {
				resource.Version = version
				more, err = listAll(ctx, cl, resource, kind)
			}
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		trees = append(trees, more...)
	}
	return trees, nil
}

// listAll reads every object of a resource. Its errors are the API server's.
func listAll(ctx context.Context, cl *cluster.Client, resource schema.GroupVersionResource,
	kind string) ([]map[string]any, error) {
	var trees []map[string]any
	for next := ""; ; {
		list, err := cl.Dynamic.Resource(resource).List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			trees = append(trees, withKind(&list.Items[i], resource, kind))
		}
		if next = list.GetContinue(); next == "" {
			return trees, nil
		}
	}
}

func withKind(u *unstructured.Unstructured, resource schema.GroupVersionResource, kind string) map[string]any {
	u.SetGroupVersionKind(resource.GroupVersion().WithKind(kind))
	return u.Object
}
