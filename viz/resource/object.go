package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/internal/spelling"
)

// ErrNotFound is wrapped by the error of Select about a name that no object has.
var ErrNotFound = errors.New("not found")

// Lister lists the objects of the cluster.
type Lister interface {
	// List returns the objects of a kind that selector selects; "" selects all, and the namespace "" is every namespace. A
	// kind that the cluster does not know has no objects. For the kind Namespace it returns every namespace, with pods for
	// the one given only.
	List(ctx context.Context, k Kind, namespace, selector string) ([]Object, error)
}

// Object is one object of the cluster.
type Object struct {
	Namespace, Name string
	// Status is the status of a pod, as kubectl shows it; "" for other kinds.
	Status string
	// Inject is a namespace's annotation that asks for proxies, or refuses them; "" without one.
	Inject string
	// Pods are the object's pods, also those that have ended. A pod has itself.
	Pods []Pod
}

// Pod has the facts about a pod that the commands use.
type Pod struct {
	Name, ServiceAccount string
	// Meshed means that the pod has a proxy of this control plane. Version is that of the proxy.
	Meshed  bool
	Version string
	// Running means that its proxy runs, and TapEnabled that the tap server may watch it.
	Running, TapEnabled bool
	// Finished means that it has ended.
	Finished bool
	// Inject is its annotation that asks for a proxy, or refuses one: "" without one, and "disabled" if its network is the
	// host's, where no traffic can be captured.
	Inject string
}

// Meshed returns how many of the pods that have not ended have a proxy, and how many there are.
func (o Object) Meshed() (meshed, total int) {
	for _, p := range o.Pods {
		if p.Finished {
			continue
		}
		total++
		if p.Meshed {
			meshed++
		}
	}
	return meshed, total
}

// Sort orders objects by namespace and name.
func Sort(objects []Object) {
	slices.SortFunc(objects, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// Select returns the objects that have one of the names; no names select all. An error names the first name that no
// object has, and the nearest one that exists.
func Select(k Kind, objects []Object, names []string, namespace string) ([]Object, error) {
	if len(names) == 0 {
		return objects, nil
	}
	var selected []Object
	for _, name := range names {
		found := false
		for _, o := range objects {
			if o.Name == name {
				selected, found = append(selected, o), true
			}
		}
		if !found {
			return nil, notFound(k, name, namespace, objects)
		}
	}
	return selected, nil
}

// Find lists the objects of a kind, and returns those with one of the names; no names mean all. It returns an error for
// a name or a namespace that does not exist. For namespace and selector see Lister.
func Find(ctx context.Context, l Lister, t Target, namespace, selector string) ([]Object, error) {
	objects, err := l.List(ctx, t.Kind, namespace, selector)
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		if err := CheckNamespace(ctx, l, namespace); err != nil {
			return nil, err
		}
	}
	return Select(t.Kind, objects, t.Names, namespace)
}

func notFound(k Kind, name, namespace string, objects []Object) error {
	where := ""
	if k.Name != Namespace {
		where = " in namespace " + fmt.Sprintf("%q", namespace)
	}
	existing := make([]string, len(objects))
	for i, o := range objects {
		existing[i] = o.Name
	}
	hint := ""
	if nearest, ok := spelling.Nearest(name, existing); ok {
		hint = fmt.Sprintf("; did you mean %q?", nearest)
	}
	return fmt.Errorf("%s %q: %w%s%s", k.Name, name, ErrNotFound, where, hint)
}

// CheckNamespace returns an error if the namespace does not exist. It returns nil if the user may not list
// namespaces: the rest can still be answered.
func CheckNamespace(ctx context.Context, l Lister, namespace string) error {
	k, err := ParseKind(Namespace)
	if err != nil || namespace == "" {
		return err
	}
	objects, err := l.List(ctx, k, namespace, "")
	if err != nil {
		return nil
	}
	_, err = Select(k, objects, []string{namespace}, "")
	return err
}
