package status

import (
	"reflect"
	"slices"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
)

// Limits of the schemas. Source: Gateway API RouteStatus.parents, metav1.Condition.message.
const (
	maxParents      = 32
	maxMessageBytes = 32768
)

// merged is what a status becomes.
type merged struct {
	kube.Status
	// changed says that it differs from what there was; cut that parents had to be left out because there are too many.
	changed, cut bool
}

// merge puts the conditions of this control plane into an object's status. What other controllers wrote stays as it is;
// a condition keeps the time of its last transition unless its status changes.
func merge(was kube.Status, want model.Outcome, now metav1.Time) merged {
	if want.Result != nil {
		return mergeConditions(was, want, now)
	}
	var others, ours []gatewayv1.RouteParentStatus
	for _, p := range was.Parents {
		if p.ControllerName == ControllerName {
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
		if i := slices.IndexFunc(ours, func(o gatewayv1.RouteParentStatus) bool {
			return reflect.DeepEqual(o.ParentRef,
				p.Ref)
		}); i >= 0 {
			prior = ours[i].Conditions
		}
		mine = append(mine, gatewayv1.RouteParentStatus{
			ParentRef: p.Ref, ControllerName: ControllerName, Conditions: complete(prior, Conditions(p.Result, want.Generation),
				now),
		})
	}
	out.changed = !slices.EqualFunc(ours, mine, sameParent)
	out.Parents = append(append(make([]gatewayv1.RouteParentStatus, 0, len(others)+len(mine)), others...), mine...)
	return out
}

func sameParent(a, b gatewayv1.RouteParentStatus) bool {
	return reflect.DeepEqual(a.ParentRef, b.ParentRef) && slices.Equal(a.Conditions, b.Conditions)
}

func mergeConditions(was kube.Status, want model.Outcome, now metav1.Time) merged {
	fresh := complete(was.Conditions, Conditions(*want.Result, want.Generation), now)
	out := merged{}
	for _, c := range was.Conditions {
		if owns(c.Type) && !slices.ContainsFunc(fresh, func(f metav1.Condition) bool { return f.Type == c.Type }) {
			out.changed = true // it was about an earlier generation
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

// complete adds the time of the last transition to conditions, which is the earlier one while the status is the same.
func complete(was, want []metav1.Condition, now metav1.Time) []metav1.Condition {
	out := make([]metav1.Condition, len(want))
	for i, c := range want {
		c.LastTransitionTime = now
		c.Message = shorten(c.Message)
		for _, o := range was {
			if o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		out[i] = c
	}
	return out
}

// shorten cuts a message to the length that the schema allows, between two characters: JSON has no half ones.
func shorten(message string) string {
	if len(message) <= maxMessageBytes {
		return message
	}
	end := maxMessageBytes
	for end > 0 && !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end]
}
