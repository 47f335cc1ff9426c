package objects

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
)

// Configured is an object of a kind that configures the mesh, as the API server has it.
type Configured struct {
	Kind kinds.Kind
	// Object is of the kind's own type, or unstructured with a Fault.
	Object metav1.Object
	// Fault is why the spec or the status could not be decoded; nil if they could.
	Fault  error
	Status Status
}

// Status is as much of a status as pages show.
type Status struct {
	Parents    []gatewayv1.RouteParentStatus `json:"parents,omitempty"`
	Conditions []metav1.Condition            `json:"conditions,omitempty"`
}

// Unread is a kind whose objects could not be listed.
type Unread struct {
	// Resource is as in servers.policy.linkerd.io.
	Resource string
	Err      error
}

// ListConfigured returns the objects of each kind that configures the mesh; "" is every namespace. A kind that the
// cluster lacks has none. Kinds that could not be listed are unread: one of them must not hide the others. It returns
// an error if no kind could be listed, and the viewer does not just lack the rights.
func ListConfigured(ctx context.Context, client *cluster.Client, namespace string) (out []Configured, unread []Unread,
	err error) {
	all := kinds.Configuration()
	found := make([][]Configured, len(all))
	errs := make([]error, len(all))
	var group errgroup.Group
	for i, k := range all {
		group.Go(func() error {
			found[i], errs[i] = listKind(ctx, client, k, namespace)
			return nil
		})
	}
	_ = group.Wait() // errs has the errors
	for i, k := range all {
		out = append(out, found[i]...)
		if errs[i] != nil {
			unread = append(unread, Unread{k.Definition(), errs[i]})
		}
		if errs[i] != nil && !apierrors.IsForbidden(errs[i]) {
			err = errs[i]
		}
	}
	if ctx.Err() != nil || err != nil && len(unread) == len(all) {
		return nil, nil, err
	}
	return out, unread, nil
}

func listKind(ctx context.Context, client *cluster.Client, k kinds.Kind, namespace string) (out []Configured,
	err error) {
	for _, version := range k.Versions {
		options := metav1.ListOptions{Limit: pageSize}
		for {
			list, err := client.Dynamic.Resource(k.Resource(version)).Namespace(namespace).List(ctx, options)
			if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", k.Definition(), err)
			}
			for i := range list.Items {
				out = append(out, newConfigured(k, &list.Items[i]))
			}
			if options.Continue = list.GetContinue(); options.Continue == "" {
				return out, nil
			}
		}
	}
	return nil, nil
}

// newConfigured decodes an object.
func newConfigured(k kinds.Kind, u *unstructured.Unstructured) Configured {
	c := Configured{Kind: k, Object: k.New()}
	if status, ok := u.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(status, &c.Status); err != nil {
			c.Status, c.Fault = Status{}, fmt.Errorf("status: %w", err)
		}
	}
	delete(u.Object, "status")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, c.Object); err != nil {
		c.Object, c.Fault = u, err
	}
	return c
}
