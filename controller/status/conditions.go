package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/model"
)

// ControllerName is the controller under which statuses are written. Those of other controllers, Linkerd's among them,
// are theirs.
const ControllerName = "tulle.dev/policy-controller"

// The types of conditions that this control plane owns. Source: Gateway API, RouteConditionType.
const (
	conditionAccepted         = string(gatewayv1.RouteConditionAccepted)
	conditionResolvedRefs     = string(gatewayv1.RouteConditionResolvedRefs)
	conditionPartiallyInvalid = string(gatewayv1.RouteConditionPartiallyInvalid)
)

// owns reports whether a condition of that type, in a status without parents, is from this control plane.
func owns(conditionType string) bool {
	return conditionType == conditionAccepted || conditionType == conditionResolvedRefs ||
		conditionType == conditionPartiallyInvalid
}

// Conditions returns the conditions of a result, made from one generation of the object. They have no
// LastTransitionTime: that depends on what the status said before.
func Conditions(r model.Result, generation int64) []metav1.Condition {
	out := []metav1.Condition{accepted(r)}
	if r.HasReferences {
		out = append(out, resolvedRefs(r.Findings.Of(compile.Unresolved)))
	}
	if ignored := r.Findings.Of(compile.Ignored); len(ignored) > 0 {
		out = append(out, metav1.Condition{
			Type: conditionPartiallyInvalid, Status: metav1.ConditionTrue, Reason: ignored[0].Reason,
			Message: compile.List(ignored.Strings()),
		})
	}
	for i := range out {
		out[i].ObservedGeneration = generation
	}
	return out
}

func accepted(r model.Result) metav1.Condition {
	invalid := r.Findings.Of(compile.Invalid)
	if len(invalid) == 0 {
		return metav1.Condition{
			Type: conditionAccepted, Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonAccepted),
			Message: r.Note,
		}
	}
	return metav1.Condition{
		Type: conditionAccepted, Status: metav1.ConditionFalse, Reason: invalid[0].Reason,
		Message: compile.Join(compile.List(invalid.Strings()), r.Effect),
	}
}

func resolvedRefs(unresolved compile.Findings) metav1.Condition {
	if len(unresolved) == 0 {
		return metav1.Condition{
			Type: conditionResolvedRefs, Status: metav1.ConditionTrue, Reason: string(gatewayv1.RouteReasonResolvedRefs),
		}
	}
	return metav1.Condition{
		Type: conditionResolvedRefs, Status: metav1.ConditionFalse, Reason: unresolved[0].Reason,
		Message: compile.List(unresolved.Strings()),
	}
}
