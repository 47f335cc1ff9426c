package model

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// serverAuthorization is the record of a ServerAuthorization.
type serverAuthorization struct{ kept[serverAuthorizationSpec] }

type serverAuthorizationSpec struct {
	server        string          // its name, or "" for those that selector selects
	selector      labels.Selector // of Servers, by their own labels
	authorization mesh.Authorization
}

func parseServerAuthorization(o *v1alpha1.ServerAuthorization, c Config) (spec serverAuthorizationSpec, f Findings) {
	switch on := o.Spec.Server; {
	case on.Name != "" && on.Selector != nil:
		f.invalid("spec.server", "has both name and selector: want one")
	case on.Name != "":
		spec.server = on.Name
	case on.Selector != nil:
		spec.selector = parseSelector(on.Selector, "spec.server.selector", &f)
	default:
		f.invalid("spec.server", "has neither name nor selector")
	}
	spec.authorization = mesh.Authorization{
		Ref: mesh.Ref{Group: v1alpha1.PolicyGroup, Kind: "ServerAuthorization", Namespace: o.Namespace, Name: o.Name},
	}
	client := o.Spec.Client
	spec.authorization.Networks = parseNetworks(client.Networks, "spec.client.networks", &f)
	switch {
	case client.Unauthenticated && client.MeshTLS != nil:
		f.invalid("spec.client", "has both unauthenticated and meshTLS: want one")
	case client.Unauthenticated:
		spec.authorization.Clients = mesh.AnyClients
	case client.MeshTLS != nil:
		parseMeshTLSProof(client.MeshTLS, o.Namespace, c, &spec.authorization, &f)
	default:
		f.invalid("spec.client", "has neither unauthenticated nor meshTLS")
	}
	return spec, f
}

// parseMeshTLSProof reads who must prove what. Mesh TLS always proves an identity, so unauthenticatedTLS asks for any.
func parseMeshTLSProof(m *v1alpha1.MeshTLSProof, namespace string, c Config, a *mesh.Authorization, f *Findings) {
	some := len(m.Identities)+len(m.ServiceAccounts) > 0
	switch {
	case m.UnauthenticatedTLS && some:
		f.invalid("spec.client.meshTLS", "has unauthenticatedTLS beside identities or serviceAccounts: want one")
		return
	case m.UnauthenticatedTLS:
		a.Clients = mesh.AuthenticatedClients
		return
	case !some:
		f.invalid("spec.client.meshTLS", "names nobody: want unauthenticatedTLS, identities or serviceAccounts")
		return
	}
	identities := parseIdentities(m.Identities, "spec.client.meshTLS.identities", c, f)
	tooMany(len(m.ServiceAccounts), "spec.client.meshTLS.serviceAccounts", f)
	for i, r := range m.ServiceAccounts {
		if r.Name == "" {
			f.invalid(fmt.Sprintf("spec.client.meshTLS.serviceAccounts[%d].name", i), "is missing")
		}
		match := mesh.IdentityMatch{TrustDomain: c.TrustDomain, Namespace: r.Namespace, ServiceAccount: r.Name}
		if match.Namespace == "" {
			match.Namespace = namespace
		}
		identities = append(identities, match)
	}
	named(a, identities)
}

func (sa *serverAuthorization) selects(sv *server) bool {
	if !sa.valid() {
		return false
	}
	if sa.spec.selector != nil {
		return sa.spec.selector.Matches(sv.labels)
	}
	return sa.spec.server == sv.object.Name
}

func (s *Store) applyServerAuthorization(o *v1alpha1.ServerAuthorization, e Event) Change {
	a := &s.access
	n := nameOf(o)
	old := a.serverAuths[n]
	var before *kept[serverAuthorizationSpec]
	var change Change
	if old != nil {
		before = &old.kept
		delete(a.serverAuths, n)
		unlink(a.serverAuthsIn, n.Namespace, old)
	}
	var now *serverAuthorization
	if !e.Deleted {
		spec, f := parseServerAuthorization(o, s.config)
		f.RefuseUnknownFields(e.Unknown)
		now = &serverAuthorization{keep(ObjectRef{Group: v1alpha1.PolicyGroup, Kind: "ServerAuthorization"}, o, spec, f, before)}
		change.report(now.object, now.newMistakes(before))
		a.serverAuths[n] = now
		link(a.serverAuthsIn, n.Namespace, now)
	}
	for _, sv := range a.serversIn[n.Namespace] {
		if old != nil && old.selects(sv) || now != nil && now.selects(sv) {
			s.refreshServer(sv.key(), &change)
		}
	}
	s.statuses.touch(statusKey{v1alpha1.PolicyGroup, "ServerAuthorization", n})
	return change
}

// serverAuthorizationStatus does not mind that a selector selects nothing yet: that is what selectors are for.
func (s *Store) serverAuthorizationStatus(sa *serverAuthorization) Status {
	n := types.NamespacedName{Namespace: sa.object.Namespace, Name: sa.spec.server}
	k := sa.kept
	if text := s.crowdedOut(sa.ref(), s.serversSelectedBy(sa)); text != "" {
		k.findings = append(slices.Clone(k.findings), Finding{Message: text, Severity: Ignored, Reason: reasonUnsupportedValue})
	}
	switch {
	case sa.valid() && n.Name != "" && s.access.servers[n] == nil:
		return k.status(no(conditionAccepted, reasonNoTarget, describeMissing(serverRef(n))))
	case sa.spec.authorization.Clients == mesh.AnyClients:
		return k.status(yes(conditionAccepted, conditionAccepted, "clients without mesh TLS are let in, too"))
	}
	return k.status(yes(conditionAccepted, conditionAccepted, ""))
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
