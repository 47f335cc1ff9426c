package rights

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// maxListed bounds the namespaces that are listed one by one for a page about every namespace.
const maxListed = 50

// objects lists objects with the viewer's rights. For every namespace it lists those that the viewer may see.
type objects struct {
	rights *Rights
	lister resource.Lister
}

// Objects returns a lister that lists the visible namespaces one by one if the viewer may not list all at once. lister
// has the viewer's credentials. It returns the API server's error if no namespace is visible.
func (r *Rights) Objects(lister resource.Lister) resource.Lister { return objects{r, lister} }

// List implements resource.Lister.
func (o objects) List(ctx context.Context, k resource.Kind, namespace, selector string) ([]resource.Object, error) {
	found, forbidden := o.lister.List(ctx, k, namespace, selector)
	namespaces := k.Name == resource.Namespace
	if !apierrors.IsForbidden(forbidden) || namespace != "" && !namespaces {
		return found, forbidden
	}
	visible, err := o.rights.VisibleNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	named := func(n metav1.PartialObjectMetadata) bool { return n.Name == namespace }
	switch {
	case len(visible) == 0 || namespace != "" && !slices.ContainsFunc(visible, named):
		return nil, forbidden
	case namespaces:
		return o.listNamespaces(ctx, visible, namespace, selector)
	}
	return o.listEach(ctx, k, visible, selector, forbidden)
}

// listNamespaces returns the visible namespaces that the selector selects. Those with the given name have their pods;
// "" is every name.
func (o objects) listNamespaces(ctx context.Context, visible []metav1.PartialObjectMetadata,
	namespace, selector string) (out []resource.Object, err error) {
	selects, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("selector %q: %w", selector, err)
	}
	pod, err := resource.ParseKind("pod")
	if err != nil {
		return nil, err
	}
	visible = slices.DeleteFunc(visible, func(n metav1.PartialObjectMetadata) bool {
		return !selects.Matches(labels.Set(n.Labels))
	})
	if namespace == "" && len(visible) > maxListed {
		return nil, tooMany(len(visible))
	}
	for _, n := range visible {
		object := resource.Object{Name: n.Name, Inject: n.Annotations[mesh.InjectAnnotation]}
		if namespace == "" || namespace == n.Name {
			pods, err := o.lister.List(ctx, pod, n.Name, "")
			if err != nil {
				return nil, err
			}
			for _, p := range pods {
				object.Pods = append(object.Pods, p.Pods...)
			}
		}
		out = append(out, object)
	}
	return out, nil
}

// listEach returns the objects of all visible namespaces in which the viewer may read the kind.
func (o objects) listEach(ctx context.Context, k resource.Kind, visible []metav1.PartialObjectMetadata, selector string,
	forbidden error) (out []resource.Object, err error) {
	if len(visible) > maxListed {
		return nil, tooMany(len(visible))
	}
	read := false
	for _, n := range visible {
		found, err := o.lister.List(ctx, k, n.Name, selector)
		switch {
		case err == nil:
			read, out = true, append(out, found...)
		case !apierrors.IsForbidden(err):
			return nil, err
		}
	}
	if !read {
		return nil, forbidden
	}
	return out, nil
}

// ErrTooMany is wrapped by errors about all namespaces, for a viewer who may see too many of them but not all.
var ErrTooMany = errors.New("too many to read one by one")

func tooMany(n int) error { return fmt.Errorf("you may see %d namespaces, %w", n, ErrTooMany) }
