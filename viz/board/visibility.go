package board

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/viz/resource"
)

// listedWorkloads are the kinds that get a node without traffic too. Other kinds are read only if series name them:
// they are rarely used alone, and many clusters have thousands of old ReplicaSets.
var listedWorkloads = []string{"deployment", "statefulset", "daemonset", "cronjob"}

func isWorkload(kind string) bool {
	return slices.Contains(listedWorkloads, kind) ||
		slices.Contains([]string{"job", "replicaset", "replicationcontroller"}, kind)
}

// visibility reads objects with the viewer's rights, and says which nodes the viewer may see.
type visibility struct {
	read  func(kind resource.Kind, namespace string) ([]resource.Object, error)
	check func(namespace string) error // nil if the namespace exists
	scope topologyScope
	lists map[Ref]listResult // by kind and namespace
	// err is the first error that is not a missing right.
	err error
}

// listResult is the answer to one list.
type listResult struct {
	objects []resource.Object
	err     error // not nil if the right is missing
}

func newVisibility(ctx context.Context, lister resource.Lister, scope topologyScope) *visibility {
	return &visibility{
		read: func(kind resource.Kind, namespace string) ([]resource.Object, error) {
			return lister.List(ctx, kind, namespace, "")
		},
		check: func(namespace string) error { return resource.CheckNamespace(ctx, lister, namespace) },
		scope: scope,
		lists: map[Ref]listResult{},
	}
}

// list returns the objects of a kind. In a page about all namespaces it reads them all at once.
func (r *visibility) list(kind, namespace string) listResult {
	if len(r.scope.namespaces) == 0 {
		namespace = ""
	}
	key := Ref{Kind: kind, Namespace: namespace}
	if l, ok := r.lists[key]; ok {
		return l
	}
	var l listResult
	k, err := resource.ParseKind(kind)
	if err == nil {
		l.objects, err = r.read(k, namespace)
	}
	if apierrors.IsForbidden(err) {
		l.err = err
	} else if err != nil && r.err == nil {
		r.err = err
	}
	r.lists[key] = l
	return l
}

// checkScope returns an error for a namespace or a workload that does not exist, or that may not be read.
func (r *visibility) checkScope() error {
	namespaces := r.scope.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		kinds := listedWorkloads
		if r.scope.allCollapsed() {
			kinds = []string{"pod"}
		}
		var missing []error
		found := false
		for _, kind := range kinds {
			l := r.list(kind, namespace)
			found = found || len(l.objects) > 0
			if l.err != nil {
				missing = append(missing, l.err)
			}
		}
		if r.err != nil {
			return r.err
		}
		if len(missing) == len(kinds) {
			return missing[0]
		}
		if !found {
			if err := r.check(namespace); err != nil {
				return err
			}
		}
	}
	return r.checkFocus()
}

func (r *visibility) checkFocus() error {
	focus := r.scope.focus
	if focus == (Ref{}) {
		return nil
	}
	l := r.list(focus.Kind, focus.Namespace)
	if l.err != nil || r.err != nil {
		return cmp.Or(l.err, r.err)
	}
	kind, err := resource.ParseKind(focus.Kind)
	if err != nil {
		return err
	}
	_, err = resource.Select(kind, l.objects, []string{focus.Name}, focus.Namespace)
	return err
}

// mayRead reports whether the viewer may list the kind in the namespace.
func (r *visibility) mayRead(kind, namespace string) bool {
	return r.list(kind, namespace).err == nil
}

// pods returns how many pods a node has, and how many of them are meshed.
func (r *visibility) pods(node Ref) (meshed, total int) {
	kind := node.Kind
	switch {
	case kind == resource.Namespace:
		kind = "pod"
	case !isWorkload(kind):
		return 0, 0
	}
	for _, o := range r.list(kind, inNamespace(node)).objects {
		of := o.Namespace == node.Namespace && o.Name == node.Name
		if node.Kind == resource.Namespace {
			of = o.Namespace == node.Name
		}
		if of {
			m, t := o.Meshed()
			meshed, total = meshed+m, total+t
		}
	}
	return meshed, total
}

// inNamespace returns the namespace whose objects a node is.
func inNamespace(node Ref) string {
	if node.Kind == resource.Namespace {
		return node.Name
	}
	return node.Namespace
}

// withPods returns the nodes of the scope that have pods, with traffic or without.
func (r *visibility) withPods() (out []Ref) {
	kinds := append([]string{"pod"}, listedWorkloads...)
	for key, l := range r.lists {
		if !slices.Contains(kinds, key.Kind) || key.Namespace != "" && !r.scope.has(key.Namespace) {
			continue
		}
		for _, o := range l.objects {
			if _, total := o.Meshed(); total == 0 {
				continue
			}
			switch collapsed := r.scope.collapsed(o.Namespace); {
			case collapsed:
				out = append(out, Ref{Kind: resource.Namespace, Name: o.Namespace})
			case key.Kind != "pod":
				out = append(out, Ref{Kind: key.Kind, Namespace: o.Namespace, Name: o.Name})
			}
		}
	}
	return out
}

// notes say which rights are missing.
func (r *visibility) notes() (out []string) {
	for key, l := range r.lists {
		if l.err != nil && r.scope.has(key.Namespace) {
			out = append(out, l.err.Error())
		}
	}
	slices.Sort(out)
	hidden := map[string]bool{}
	for key, l := range r.lists {
		if l.err != nil && !r.scope.has(key.Namespace) {
			hidden[key.Namespace] = true
		}
	}
	switch n := len(hidden); n {
	case 0:
	case 1:
		out = append(out, "One namespace is not named: you need the verb list on its pods and workloads.")
	default:
		out = append(out, fmt.Sprintf("%d namespaces are not named: you need the verb list on their pods and workloads.", n))
	}
	return out
}
