package model

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// profile derives the outcome of a ServiceProfile, which has no parents: it is about one Service.
func (b *outcomeBuilder) profile(p *profile) Outcome {
	out := Outcome{
		Object:     ObjectRef{Group: p.group, Kind: p.kind, Namespace: p.Namespace, Name: p.Name, UID: p.uid},
		Generation: p.generation, Result: &Result{HasReferences: true},
	}
	b.rejectProfile(out.Result, p)
	for i := range p.latest.Mesh.Overrides {
		override := &p.latest.Mesh.Overrides[i]
		if override.Invalid != "" {
			continue
		}
		if reason, message := b.store.exists(override.Service); message != "" {
			out.Result.Findings = append(out.Result.Findings, compile.Finding{
				Path: compile.ElementPath("spec", "dstOverrides",
					i), Message: message, Severity: compile.Unresolved, Reason: string(reason),
			})
		}
	}
	out.Result.Findings = append(out.Result.Findings, p.latest.Findings.Of(compile.Ignored)...)
	return out
}

func (b *outcomeBuilder) rejectProfile(out *Result, p *profile) {
	if p.service == (types.NamespacedName{}) {
		out.reject(reasonNoParent, "a ServiceProfile is named after its Service: want <name>.<namespace>.svc.%s",
			b.store.config.ClusterDomain)
		return
	}
	svc := b.store.services[p.service]
	switch {
	case svc == nil:
		out.reject(reasonNoParent, "there is no Service %s in namespace %s", p.service.Name, p.service.Namespace)
	case len(svc.ClusterIPs) == 0:
		out.reject(reasonNoParent, "parent service must have a ClusterIP")
	case p.latest.HasMistakes():
		out.Findings = append(out.Findings, p.latest.Findings.Of(compile.Invalid)...)
		out.Effect = "the invalid parts have no effect"
		if p.active != p.latest {
			out.Effect = activeGeneration(p.active.Generation)
		}
	}
}
