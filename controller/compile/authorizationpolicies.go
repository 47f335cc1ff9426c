package compile

import (
	"cmp"
	"fmt"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// AuthorizationPolicy is a target and what clients of it must show, all of it.
type AuthorizationPolicy struct {
	Target mesh.Ref
	// Identities and networks are a MeshTLSAuthentication and a NetworkAuthentication, zero if not required.
	Identities, Networks mesh.Ref
	ServiceAccounts      []mesh.IdentityMatch
}

// Requires returns the objects that the policy cannot do without.
func (p *AuthorizationPolicy) Requires() []mesh.Ref {
	return slices.DeleteFunc([]mesh.Ref{p.Identities, p.Networks}, func(r mesh.Ref) bool { return r == mesh.Ref{} })
}

func ParseAuthorizationPolicy(o *v1alpha1.AuthorizationPolicy, trustDomain string) (spec AuthorizationPolicy,
	f Findings) {
	spec.Target = parseTarget(o, &f)
	for i, r := range o.Spec.RequiredAuthenticationRefs {
		path := fmt.Sprintf("spec.requiredAuthenticationRefs[%d]", i)
		namespace := cmp.Or(r.Namespace, o.Namespace)
		ref := mesh.Ref{Group: r.Group, Kind: r.Kind, Namespace: namespace, Name: r.Name}
		switch {
		case r.Name == "":
			f.invalid(path+".name", "is missing")
		case isCore(r.Group) && r.Kind == "ServiceAccount":
			spec.ServiceAccounts = append(spec.ServiceAccounts,
				mesh.IdentityMatch{TrustDomain: trustDomain, Namespace: namespace, ServiceAccount: r.Name})
		case ref.Group != v1alpha1.PolicyGroup:
			f.invalid(path, fmt.Sprintf("%s of group %q is no authentication: want a MeshTLSAuthentication or a "+
				"NetworkAuthentication of %s, or a "+
				"ServiceAccount", r.Kind, r.Group, v1alpha1.PolicyGroup))
		case r.Kind == "MeshTLSAuthentication" && spec.Identities == mesh.Ref{}:
			spec.Identities = ref
		case r.Kind == "NetworkAuthentication" && spec.Networks == mesh.Ref{}:
			spec.Networks = ref
		case r.Kind == "MeshTLSAuthentication" || r.Kind == "NetworkAuthentication":
			f.invalid(path, "is a second "+r.Kind+": all refs must be met, so one is what can be said")
		default:
			f.invalid(path+".kind", fmt.Sprintf("%q: want MeshTLSAuthentication, NetworkAuthentication or ServiceAccount",
				r.Kind))
		}
	}
	if len(spec.ServiceAccounts) > 1 || len(spec.ServiceAccounts) == 1 && spec.Identities != (mesh.Ref{}) {
		f.invalid("spec.requiredAuthenticationRefs",
			"all refs must be met, and no client has two identities: put the ServiceAccounts into "+
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
		return NamespaceRef(t.Name)
	case t.Group == v1alpha1.PolicyGroup && (t.Kind == "Server" || t.Kind == "HTTPRoute"),
		t.Group == gatewayv1.GroupName && (t.Kind == "HTTPRoute" || t.Kind == "GRPCRoute"):
	default:
		f.invalid("spec.targetRef", fmt.Sprintf("%s of group %q: want a Server or an HTTPRoute of %s, an HTTPRoute or a "+
			"GRPCRoute of %s, or a "+
			"Namespace", t.Kind, t.Group, v1alpha1.PolicyGroup, gatewayv1.GroupName))
	}
	return ref
}

func NamespaceRef(namespace string) mesh.Ref { return mesh.Ref{Kind: "Namespace", Name: namespace} }
