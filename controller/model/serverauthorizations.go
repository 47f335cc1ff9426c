package model

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// serverAuthorization is the record of a ServerAuthorization.
type serverAuthorization struct {
	lastValid[compile.ServerAuthorization]
}

func (sa *serverAuthorization) selects(sv *server) bool {
	if !sa.valid() {
		return false
	}
	if sa.spec.Selector != nil {
		return sa.spec.Selector.Matches(sv.labels)
	}
	return sa.spec.Server == sv.object.Name
}

func (s *Store) applyServerAuthorization(o *v1alpha1.ServerAuthorization, e Event) Change {
	a := &s.access
	n := compile.NameOf(o)
	old := a.serverAuths[n]
	var before *lastValid[compile.ServerAuthorization]
	var change Change
	if old != nil {
		before = &old.lastValid
		delete(a.serverAuths, n)
		unlink(a.serverAuthsIn, n.Namespace, old)
	}
	var now *serverAuthorization
	if !e.Deleted {
		spec, f := compile.ParseServerAuthorization(o, s.config.TrustDomain)
		f.RefuseUnknownFields(e.Unknown)
		now = &serverAuthorization{withLastValid(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "ServerAuthorization"}, o, spec,
			f, before)}
		change.report(now.object, now.newProblems(before))
		a.serverAuths[n] = now
		link(a.serverAuthsIn, n.Namespace, now)
	}
	for _, sv := range a.serversIn[n.Namespace] {
		if old != nil && old.selects(sv) || now != nil && now.selects(sv) {
			s.refreshServer(sv.key(), &change)
		}
	}
	s.outcomes.touch(objectKey{v1alpha1.PolicyGroup, "ServerAuthorization", n})
	return change
}

// serverAuthorizationOutcome accepts a selector that selects nothing yet: that is what selectors are for.
func (s *Store) serverAuthorizationOutcome(sa *serverAuthorization) Outcome {
	var result Result
	n := types.NamespacedName{Namespace: sa.object.Namespace, Name: sa.spec.Server}
	if sa.valid() && n.Name != "" && s.access.servers[n] == nil {
		result.reject(ReasonNoTarget, "%s", describeMissing(compile.ServerRef(n)))
	}
	if sa.spec.Authorization.Clients == mesh.AnyClients {
		result.Note = "clients without mesh TLS are allowed, too"
	}
	if text := s.excessAt(sa.ref(), s.serversSelectedBy(sa)); text != "" {
		result.ignore(reasonUnsupported, "", text)
	}
	return sa.outcome(result)
}

func (s *Store) serversSelectedBy(sa *serverAuthorization) []types.NamespacedName {
	var out []types.NamespacedName
	for _, sv := range s.access.serversIn[sa.object.Namespace] {
		if sa.selects(sv) {
			out = append(out, sv.key())
		}
	}
	return out
}
