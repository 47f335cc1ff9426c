package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// authorizationPolicy is the record of an AuthorizationPolicy.
type authorizationPolicy struct{ kept[policySpec] }

// policySpec is a target and what clients of it must show, all of it.
type policySpec struct {
	target mesh.Ref
	// identities and networks are a MeshTLSAuthentication and a NetworkAuthentication, zero if not required; accounts are ServiceAccounts.
	identities, networks mesh.Ref
	accounts             []mesh.IdentityMatch
}

// requires returns the objects that the policy cannot do without.
func (p *policySpec) requires() []mesh.Ref {
	return slices.DeleteFunc([]mesh.Ref{p.identities, p.networks}, func(r mesh.Ref) bool { return r == mesh.Ref{} })
}

// authentication is the record of a MeshTLSAuthentication or a NetworkAuthentication.
type authentication struct{ kept[proof] }

func parsePolicy(o *v1alpha1.AuthorizationPolicy, c Config) (spec policySpec, f Findings) {
	spec.target = parseTarget(o, &f)
	for i, r := range o.Spec.RequiredAuthenticationRefs {
		path := fmt.Sprintf("spec.requiredAuthenticationRefs[%d]", i)
		namespace := cmp.Or(r.Namespace, o.Namespace)
		ref := mesh.Ref{Group: r.Group, Kind: r.Kind, Namespace: namespace, Name: r.Name}
		switch {
		case r.Name == "":
			f.invalid(path+".name", "is missing")
		case isCore(r.Group) && r.Kind == "ServiceAccount":
			spec.accounts = append(spec.accounts, mesh.IdentityMatch{TrustDomain: c.TrustDomain, Namespace: namespace, ServiceAccount: r.Name})
		case ref.Group != v1alpha1.PolicyGroup:
			f.invalid(path, fmt.Sprintf("%s of group %q is no authentication: want a MeshTLSAuthentication or a NetworkAuthentication of %s, or a "+
				"ServiceAccount", r.Kind, r.Group, v1alpha1.PolicyGroup))
		case r.Kind == "MeshTLSAuthentication" && spec.identities == mesh.Ref{}:
			spec.identities = ref
		case r.Kind == "NetworkAuthentication" && spec.networks == mesh.Ref{}:
			spec.networks = ref
		case r.Kind == "MeshTLSAuthentication" || r.Kind == "NetworkAuthentication":
			f.invalid(path, "is a second "+r.Kind+": all refs must be met, so one is what can be said")
		default:
			f.invalid(path+".kind", fmt.Sprintf("%q: want MeshTLSAuthentication, NetworkAuthentication or ServiceAccount", r.Kind))
		}
	}
	if len(spec.accounts) > 1 || len(spec.accounts) == 1 && spec.identities != (mesh.Ref{}) {
		f.invalid("spec.requiredAuthenticationRefs", "all refs must be met, and no client has two identities: put the ServiceAccounts into "+
			"one MeshTLSAuthentication")
	}
	return spec, f
}

// parseTarget reads what the policy is for: a Server or a route of its namespace, or the namespace itself.
func parseTarget(o *v1alpha1.AuthorizationPolicy, f *Findings) mesh.Ref {
	t := o.Spec.TargetRef
	ref := mesh.Ref{Group: t.Group, Kind: t.Kind, Namespace: o.Namespace, Name: t.Name}
	switch {
	case isCore(t.Group) && t.Kind == "Namespace":
		if t.Name != o.Namespace {
			f.invalid("spec.targetRef.name", fmt.Sprintf("%q is another namespace: a policy governs its own", t.Name))
		}
		return namespaceRef(t.Name)
	case t.Group == v1alpha1.PolicyGroup && (t.Kind == "Server" || t.Kind == "HTTPRoute"),
		t.Group == gatewayv1.GroupName && (t.Kind == "HTTPRoute" || t.Kind == "GRPCRoute"):
	default:
		f.invalid("spec.targetRef", fmt.Sprintf("%s of group %q: want a Server or an HTTPRoute of %s, an HTTPRoute or a GRPCRoute of %s, or a "+
			"Namespace", t.Kind, t.Group, v1alpha1.PolicyGroup, gatewayv1.GroupName))
	}
	return ref
}

func (s *Store) applyPolicy(o *v1alpha1.AuthorizationPolicy, e Event) Change {
	a := &s.access
	n := nameOf(o)
	old := a.policies[n]
	var before *kept[policySpec]
	var change Change
	var targets []mesh.Ref
	if old != nil {
		before = &old.kept
		delete(a.policies, n)
		unlink(a.policiesAt, old.spec.target, old)
		for _, r := range old.spec.requires() {
			unlink(a.policiesBy, r, old)
		}
		targets = append(targets, old.spec.target)
	}
	if !e.Deleted {
		spec, f := parsePolicy(o, s.config)
		f.RefuseUnknownFields(e.Unknown)
		now := &authorizationPolicy{keep(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "AuthorizationPolicy"}, o, spec, f, before)}
		change.report(now.object, now.newMistakes(before))
		a.policies[n] = now
		if now.valid() {
			link(a.policiesAt, now.spec.target, now)
			for _, r := range now.spec.requires() {
				link(a.policiesBy, r, now)
			}
			targets = append(targets, now.spec.target)
		}
	}
	s.refreshTargets(targets, &change)
	s.statuses.touch(statusKey{v1alpha1.PolicyGroup, "AuthorizationPolicy", n})
	return change
}

// refreshTargets derives again what the Servers come down to that policies of the targets concern.
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
	spec, f := parseMeshTLS(&o.Spec, o.Namespace, s.config)
	return s.applyAuthentication(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "MeshTLSAuthentication"}, e, spec, f)
}

func (s *Store) applyNetworkAuthentication(o *v1alpha1.NetworkAuthentication, e Event) Change {
	spec, f := parseNetworkAuthentication(&o.Spec)
	return s.applyAuthentication(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "NetworkAuthentication"}, e, spec, f)
}

func (s *Store) applyAuthentication(kind ObjectRef, e Event, spec proof, f Findings) Change {
	f.RefuseUnknownFields(e.Unknown)
	ref := mesh.Ref{Group: kind.Group, Kind: kind.Kind, Namespace: e.Object.GetNamespace(), Name: e.Object.GetName()}
	var before *kept[proof]
	if old := s.access.proofs[ref]; old != nil {
		before = &old.kept
	}
	var change Change
	if e.Deleted {
		delete(s.access.proofs, ref)
	} else {
		now := &authentication{keep(kind, e.Object, spec, f, before)}
		change.report(now.object, now.newMistakes(before))
		s.access.proofs[ref] = now
	}
	var targets []mesh.Ref
	for _, p := range s.access.policiesBy[ref] {
		targets = append(targets, p.spec.target)
		s.statuses.touch(keyOf(p.ref()))
	}
	s.refreshTargets(targets, &change)
	s.statuses.touch(keyOf(ref))
	return change
}

// authorization returns whom a policy lets in, and what it requires that is not there: then it is nobody.
func (s *Store) authorization(p *authorizationPolicy) (a mesh.Authorization, missing []mesh.Ref) {
	for _, r := range p.spec.requires() {
		if proof := s.access.proofs[r]; proof == nil || !proof.valid() {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		return mesh.Authorization{}, missing
	}
	a = mesh.Authorization{Ref: p.ref(), Clients: mesh.AnyClients}
	if p.spec.networks != (mesh.Ref{}) {
		a.Networks = s.access.proofs[p.spec.networks].spec.networks
	}
	switch {
	case p.spec.identities != mesh.Ref{}:
		named(&a, s.access.proofs[p.spec.identities].spec.identities)
	case len(p.spec.accounts) > 0:
		named(&a, p.spec.accounts)
	}
	return a, nil
}

func (s *Store) policyStatus(p *authorizationPolicy) Status {
	accepted := yes(conditionAccepted, conditionAccepted, "")
	t := p.spec.target
	if p.valid() && !s.hasTarget(t) {
		accepted = no(conditionAccepted, reasonNoTarget, describeMissing(t))
	}
	if !p.valid() {
		return p.status(accepted)
	}
	k := p.kept
	if text := s.crowdedOut(p.ref(), s.serversOfTarget(t)); text != "" {
		if t.Kind == "Server" {
			accepted = no(conditionAccepted, reasonConflicted, text)
		} else {
			k.findings = append(slices.Clone(k.findings), Finding{Message: text, Severity: Ignored, Reason: reasonUnsupportedValue})
		}
	}
	_, missing := s.authorization(p)
	resolved := yes(conditionResolvedRefs, conditionResolvedRefs, "")
	if len(missing) > 0 {
		var list []string
		for _, r := range missing {
			list = append(list, fmt.Sprintf("%s %s/%s", r.Kind, r.Namespace, r.Name))
		}
		resolved = no(conditionResolvedRefs, reasonNotFound, "the policy lets nobody in: not found, or never valid: "+strings.Join(list, ", "))
	}
	return k.status(accepted, resolved)
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
	return fmt.Sprintf("there is no %s %q of group %s in namespace %q that has a Server as parent", t.Kind, t.Name, t.Group, t.Namespace)
}
