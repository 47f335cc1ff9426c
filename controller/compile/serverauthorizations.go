package compile

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

type ServerAuthorization struct {
	Server        string          // its name, or "" for those that selector selects
	Selector      labels.Selector // of Servers, by their own labels
	Authorization mesh.Authorization
}

func ParseServerAuthorization(o *v1alpha1.ServerAuthorization, trustDomain string) (spec ServerAuthorization,
	f Findings) {
	switch on := o.Spec.Server; {
	case on.Name != "" && on.Selector != nil:
		f.invalid("spec.server", "has both name and selector: want one")
	case on.Name != "":
		spec.Server = on.Name
	case on.Selector != nil:
		spec.Selector = parseSelector(on.Selector, "spec.server.selector", &f)
	default:
		f.invalid("spec.server", "has neither name nor selector")
	}
	spec.Authorization = mesh.Authorization{
		Ref: mesh.Ref{Group: v1alpha1.PolicyGroup, Kind: "ServerAuthorization", Namespace: o.Namespace, Name: o.Name},
	}
	client := o.Spec.Client
	spec.Authorization.Networks = parseNetworks(client.Networks, "spec.client.networks", &f)
	switch {
	case client.Unauthenticated && client.MeshTLS != nil:
		f.invalid("spec.client", "has both unauthenticated and meshTLS: want one")
	case client.Unauthenticated:
		spec.Authorization.Clients = mesh.AnyClients
	case client.MeshTLS != nil:
		parseMeshTLSProof(client.MeshTLS, o.Namespace, trustDomain, &spec.Authorization, &f)
	default:
		f.invalid("spec.client", "has neither unauthenticated nor meshTLS")
	}
	return spec, f
}

// parseMeshTLSProof reads who must prove what. Mesh TLS always proves an identity, so unauthenticatedTLS asks for any.
func parseMeshTLSProof(m *v1alpha1.MeshTLSProof, namespace string, trustDomain string, a *mesh.Authorization,
	f *Findings) {
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
	identities := parseIdentities(m.Identities, "spec.client.meshTLS.identities", trustDomain, f)
	tooMany(len(m.ServiceAccounts), "spec.client.meshTLS.serviceAccounts", f)
	for i, r := range m.ServiceAccounts {
		if r.Name == "" {
			f.invalid(fmt.Sprintf("spec.client.meshTLS.serviceAccounts[%d].name", i), "is missing")
		}
		match := mesh.IdentityMatch{TrustDomain: trustDomain, Namespace: r.Namespace, ServiceAccount: r.Name}
		if match.Namespace == "" {
			match.Namespace = namespace
		}
		identities = append(identities, match)
	}
	SetIdentities(a, identities)
}
