package kube

import (
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/model"
)

// Limits of the schemas. Source: Gateway API RouteStatus.parents, metav1.Condition.message.
const (
	maxParents      = 32
	maxMessageBytes = 32768
)

// merged is what a status becomes.
type merged struct {
	status
	// changed says that it differs from what there was; cut that parents had to be left out because there are too many.
	changed, cut bool
}

// merge puts what this control plane has to say into an object's status. What other controllers said stays as it is; a condition keeps
// the time of its last transition unless its status changes.
func merge(was status, want model.Status, now metav1.Time) merged {
	if len(want.Conditions) > 0 {
		return mergeConditions(was, want, now)
	}
	var others, ours []gatewayv1.RouteParentStatus
	for _, p := range was.Parents {
		if p.ControllerName == model.ControllerName {
			ours = append(ours, p)
		} else {
			others = append(others, p)
		}
	}
	room := max(maxParents-len(others), 0)
	out := merged{cut: len(want.Parents) > room}
	mine := make([]gatewayv1.RouteParentStatus, 0, min(len(want.Parents), room))
	for _, p := range want.Parents[:min(len(want.Parents), room)] {
		var prior []metav1.Condition
		if i := slices.IndexFunc(ours, func(o gatewayv1.RouteParentStatus) bool { return reflect.DeepEqual(o.ParentRef, p.Ref) }); i >= 0 {
			prior = ours[i].Conditions
		}
		mine = append(mine, gatewayv1.RouteParentStatus{
			ParentRef: p.Ref, ControllerName: model.ControllerName, Conditions: conditions(prior, p.Conditions, want.Generation, now),
		})
	}
	out.changed = !slices.EqualFunc(ours, mine, sameParent)
	out.Parents = append(append(make([]gatewayv1.RouteParentStatus, 0, len(others)+len(mine)), others...), mine...)
	return out
}

func sameParent(a, b gatewayv1.RouteParentStatus) bool {
	return reflect.DeepEqual(a.ParentRef, b.ParentRef) && slices.Equal(a.Conditions, b.Conditions)
}

func mergeConditions(was status, want model.Status, now metav1.Time) merged {
	fresh := conditions(was.Conditions, want.Conditions, want.Generation, now)
	out := merged{}
	for _, c := range was.Conditions {
		if model.Judges(c.Type) && !slices.ContainsFunc(fresh, func(f metav1.Condition) bool { return f.Type == c.Type }) {
			out.changed = true // what it said about an earlier generation is true no more
			continue
		}
		out.Conditions = append(out.Conditions, c)
	}
	for _, c := range fresh {
		i := slices.IndexFunc(out.Conditions, func(o metav1.Condition) bool { return o.Type == c.Type })
		switch {
		case i < 0:
			out.Conditions, out.changed = append(out.Conditions, c), true
		case out.Conditions[i] != c:
			out.Conditions[i], out.changed = c, true
		}
	}
	return out
}

// conditions completes what is wanted by when it came about and from which generation.
func conditions(was, want []metav1.Condition, generation int64, now metav1.Time) []metav1.Condition {
	out := make([]metav1.Condition, len(want))
	for i, c := range want {
		c.ObservedGeneration, c.LastTransitionTime = generation, now
		c.Message = c.Message[:min(len(c.Message), maxMessageBytes)]
		for _, o := range was {
			if o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		out[i] = c
	}
	return out
}
