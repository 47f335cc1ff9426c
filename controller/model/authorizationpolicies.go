package model

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// authorizationPolicy is the record of an AuthorizationPolicy.
type authorizationPolicy struct {
	lastValid[compile.AuthorizationPolicy]
}

// authentication is the record of a MeshTLSAuthentication or a NetworkAuthentication.
type authentication struct {
	lastValid[compile.Authentication]
}

func (s *Store) applyAuthorizationPolicy(o *v1alpha1.AuthorizationPolicy, e Event) Change {
	a := &s.access
	n := compile.NameOf(o)
	old := a.policies[n]
	var before *lastValid[compile.AuthorizationPolicy]
	var change Change
	var targets []mesh.Ref
	if old != nil {
		before = &old.lastValid
		delete(a.policies, n)
		unlink(a.policiesAt, old.spec.Target, old)
		for _, r := range old.spec.Requires() {
			unlink(a.policiesBy, r, old)
		}
		targets = append(targets, old.spec.Target)
	}
	if !e.Deleted {
		spec, f := compile.ParseAuthorizationPolicy(o, s.config.TrustDomain)
		f.RefuseUnknownFields(e.Unknown)
		now := &authorizationPolicy{withLastValid(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "AuthorizationPolicy"}, o,
			spec, f, before)}
		change.report(now.object, now.newProblems(before))
		a.policies[n] = now
		if now.valid() {
			link(a.policiesAt, now.spec.Target, now)
			for _, r := range now.spec.Requires() {
				link(a.policiesBy, r, now)
			}
			targets = append(targets, now.spec.Target)
		}
	}
	s.refreshTargets(targets, &change)
	s.outcomes.touch(objectKey{v1alpha1.PolicyGroup, "AuthorizationPolicy", n})
	return change
}

// refreshTargets has the policies of the Servers derived again that the targets concern.
func (s *Store) refreshTargets(targets []mesh.Ref, change *Change) {
	done := map[types.NamespacedName]bool{}
	for _, target := range targets {
		for _, n := range s.serversOfTarget(target) {
			if !done[n] {
				done[n] = true
				s.refreshServer(n, change)
			}
		}
	}
}

func (s *Store) applyMeshTLS(o *v1alpha1.MeshTLSAuthentication, e Event) Change {
	spec, f := compile.ParseMeshTLSAuthentication(&o.Spec, o.Namespace, s.config.TrustDomain)
	return s.applyAuthentication(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "MeshTLSAuthentication"}, e, spec, f)
}

func (s *Store) applyNetworkAuthentication(o *v1alpha1.NetworkAuthentication, e Event) Change {
	spec, f := compile.ParseNetworkAuthentication(&o.Spec)
	return s.applyAuthentication(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "NetworkAuthentication"}, e, spec, f)
}

func (s *Store) applyAuthentication(kind ObjectRef, e Event, spec compile.Authentication, f compile.Findings) Change {
	f.RefuseUnknownFields(e.Unknown)
	ref := mesh.Ref{Group: kind.Group, Kind: kind.Kind, Namespace: e.Object.GetNamespace(), Name: e.Object.GetName()}
	var before *lastValid[compile.Authentication]
	if old := s.access.authentications[ref]; old != nil {
		before = &old.lastValid
	}
	var change Change
	if e.Deleted {
		delete(s.access.authentications, ref)
	} else {
		now := &authentication{withLastValid(kind, e.Object, spec, f, before)}
		change.report(now.object, now.newProblems(before))
		s.access.authentications[ref] = now
	}
	var targets []mesh.Ref
	for _, p := range s.access.policiesBy[ref] {
		targets = append(targets, p.spec.Target)
		s.outcomes.touch(keyOf(p.ref()))
	}
	s.refreshTargets(targets, &change)
	s.outcomes.touch(keyOf(ref))
	return change
}

// authorization returns whom a policy lets in, and what it requires that is not there: then it is nobody.
func (s *Store) authorization(p *authorizationPolicy) (a mesh.Authorization, missing []mesh.Ref) {
	for _, r := range p.spec.Requires() {
		if proof := s.access.authentications[r]; proof == nil || !proof.valid() {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		return mesh.Authorization{}, missing
	}
	a = mesh.Authorization{Ref: p.ref(), Clients: mesh.AnyClients}
	if p.spec.Networks != (mesh.Ref{}) {
		a.Networks = s.access.authentications[p.spec.Networks].spec.Networks
	}
	switch {
	case p.spec.Identities != mesh.Ref{}:
		compile.SetIdentities(&a, s.access.authentications[p.spec.Identities].spec.Identities)
	case len(p.spec.ServiceAccounts) > 0:
		compile.SetIdentities(&a, p.spec.ServiceAccounts)
	}
	return a, nil
}

func (s *Store) policyOutcome(p *authorizationPolicy) Outcome {
	var result Result
	if !p.valid() {
		return p.outcome(result)
	}
	t := p.spec.Target
	if !s.hasTarget(t) {
		result.reject(ReasonNoTarget, "%s", describeMissing(t))
	}
	if text := s.excessAt(p.ref(), s.serversOfTarget(t)); text != "" {
		if t.Kind == "Server" {
			result.reject(ReasonConflicted, "%s", text)
		} else {
			result.ignore(reasonUnsupported, "", text)
		}
	}
	result.HasReferences = true
	if _, missing := s.authorization(p); len(missing) > 0 {
		var list []string
		for _, r := range missing {
			list = append(list, fmt.Sprintf("%s %s/%s", r.Kind, r.Namespace, r.Name))
		}
		result.Findings = append(result.Findings, compile.Finding{
			Message:  "the policy allows nobody, because these do not exist or were never valid: " + strings.Join(list, ", "),
			Severity: compile.Unresolved, Reason: ReasonAuthenticationNotFound,
		})
	}
	return p.outcome(result)
}

// hasTarget reports whether a policy on the target can have an effect.
func (s *Store) hasTarget(t mesh.Ref) bool {
	switch t.Kind {
	case "Namespace":
		return true
	case "Server":
		return s.access.servers[types.NamespacedName{Namespace: t.Namespace, Name: t.Name}] != nil
	}
	return s.access.routes[t] != nil
}

func describeMissing(t mesh.Ref) string {
	if t.Kind == "Server" {
		return fmt.Sprintf("there is no Server %q in namespace %q", t.Name, t.Namespace)
	}
	return fmt.Sprintf("there is no %s %q of group %s in namespace %q with a Server as parent", t.Kind, t.Name, t.Group,
		t.Namespace)
}
