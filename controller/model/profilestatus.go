package model

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// profile derives the status of a ServiceProfile, which has no parents: it is about one Service.
func (j *judge) profile(p *profile) Status {
	out := Status{
		Object:     ObjectRef{Group: p.group, Kind: p.kind, Namespace: p.Namespace, Name: p.Name, UID: p.uid},
		Generation: p.generation,
	}
	refused := j.profileRefused(p)
	holds := refused.message == ""
	if holds {
		refused.reason = gatewayv1.RouteReasonAccepted
	}
	out.Conditions = append(out.Conditions, condition(p.generation, gatewayv1.RouteConditionAccepted, holds, refused.reason, refused.message))
	out.Conditions = append(out.Conditions, j.profileRefs(p))
	if partial := partialOf(p.latest.Findings); partial.message != "" {
		out.Conditions = append(out.Conditions,
			condition(p.generation, gatewayv1.RouteConditionPartiallyInvalid, true, partial.reason, partial.message))
	}
	return out
}

func (j *judge) profileRefused(p *profile) verdict {
	if p.service == (types.NamespacedName{}) {
		return verdict{gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf("the name of a ServiceProfile is that of a Service: want <name>.<namespace>.svc.%s",
			j.store.config.ClusterDomain)}
	}
	svc := j.store.services[p.service]
	switch {
	case svc == nil:
		return verdict{gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf("there is no Service %s in namespace %s", p.service.Name, p.service.Namespace)}
	case len(svc.ClusterIPs) == 0:
		return verdict{gatewayv1.RouteReasonNoMatchingParent, "parent service must have a ClusterIP"}
	case !p.latest.HasMistakes():
		return verdict{}
	}
	var texts []string
	for _, f := range p.latest.Findings {
		if f.Severity == compile.Invalid {
			texts = append(texts, f.String())
		}
	}
	then := "what has a mistake has no effect"
	if p.accepted != p.latest {
		then = fmt.Sprintf("generation %d keeps serving", p.accepted.Generation)
	}
	return verdict{gatewayv1.RouteReasonUnsupportedValue, joined(list(texts), then)}
}

func (j *judge) profileRefs(p *profile) metav1.Condition {
	var reason gatewayv1.RouteConditionReason
	var texts []string
	for i := range p.latest.Mesh.Overrides {
		b := &p.latest.Mesh.Overrides[i]
		if b.Invalid != "" {
			continue
		}
		if why, message := j.store.exists(b.Service); message != "" {
			reason = why
			texts = append(texts, compile.ElementPath("spec", "dstOverrides", i)+": "+message)
		}
	}
	if len(texts) > 0 {
		return condition(p.generation, gatewayv1.RouteConditionResolvedRefs, false, reason, list(texts))
	}
	return condition(p.generation, gatewayv1.RouteConditionResolvedRefs, true, gatewayv1.RouteReasonResolvedRefs, "")
}
