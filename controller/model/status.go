package model

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ControllerName is the controller under which statuses are written. Those of other controllers, Linkerd's among them, are theirs.
const ControllerName = "tulle.dev/policy-controller"

// Status is what the status of an object should say about this control plane. Conditions have no LastTransitionTime: who writes them
// knows what was there.
type Status struct {
	Object ObjectRef
	// Generation is what the conditions were made from; each says so itself as its ObservedGeneration.
	Generation int64
	// Gone says that the object was deleted: there is nothing to write any more.
	Gone bool
	// Parents are of a route: one for each parentRef that is this control plane's business, in the order of the object. A route that has
	// none of them gets no status, and what was written earlier is to be taken away.
	Parents []ParentStatus
	// Conditions are of a kind whose status has no parents.
	Conditions []metav1.Condition
}

// ParentStatus is what a route's status says about one of its parents.
type ParentStatus struct {
	// Ref is the parentRef as the object spells it.
	Ref        gatewayv1.ParentReference
	Conditions []metav1.Condition
}

// statusKey names an object that has a status.
type objectKey struct {
	group, kind string
	types.NamespacedName
}

// statuses notes whose status may differ from what was told last, so that telling costs no more than what has changed.
type statuses struct{ touched map[objectKey]struct{} }

func (t *statuses) touch(k objectKey) {
	if t.touched == nil {
		t.touched = map[objectKey]struct{}{}
	}
	t.touched[k] = struct{}{}
}

// Statuses returns the statuses that may have changed since the last call, sorted by object. Its cost is theirs.
func (s *Store) Statuses() []Status {
	s.recountExcess()
	out := make([]Status, 0, len(s.statuses.touched))
	j := newJudge(s)
	for k := range s.statuses.touched {
		out = append(out, j.status(k))
	}
	clear(s.statuses.touched)
	slices.SortFunc(out, func(a, b Status) int {
		x, y := a.Object, b.Object
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Namespace, y.Namespace),
			cmp.Compare(x.Name, y.Name))
	})
	return out
}

// status derives the status of the object named k.
func (j *judge) status(k objectKey) Status {
	if status, ok := j.store.accessStatus(k); ok {
		return status
	}
	if r := j.store.routes[k]; r != nil {
		return j.route(r)
	}
	if p := j.store.profiles[k.NamespacedName]; p != nil && k == p.objectKey {
		return j.profile(p)
	}
	return Status{Object: ObjectRef{Group: k.group, Kind: k.kind, Namespace: k.Namespace, Name: k.Name}, Gone: true}
}
