package compile

import (
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ParentRef is what a route is attached to, or claims to be.
type ParentRef struct {
	Kind parentKind
	types.NamespacedName
	// Port and Section narrow a Service to one port; 0 and "" do not.
	Port    uint16
	Section string
	Raw     gatewayv1.ParentReference
}

// parentKind tells what a parentRef names.
type parentKind uint8

const (
	parentOther parentKind = iota // another controller's business
	ParentService
	ParentServer
	ParentEgress // Linkerd's EgressNetwork, which this control plane does not have
)

// newParentRefs reads parentRefs. What they leave out depends on the kind of route: Gateway API's means a Gateway, and
// that of policy.linkerd.io a Server.
func newParentRefs(kind RouteKind, namespace string, refs []gatewayv1.ParentReference) []ParentRef {
	out := make([]ParentRef, len(refs))
	for i, ref := range refs {
		group, what := gatewayv1.GroupName, "Gateway"
		if kind == KindPolicyHTTPRoute {
			group, what = policyGroup, "Server"
		}
		if ref.Group != nil {
			group = string(*ref.Group)
		}
		if ref.Kind != nil {
			what = string(*ref.Kind)
		}
		p := ParentRef{NamespacedName: types.NamespacedName{Namespace: namespace, Name: string(ref.Name)},
			Section: string(value(ref.SectionName)), Raw: ref}
		if ref.Namespace != nil {
			p.Namespace = string(*ref.Namespace)
		}
		if ref.Port != nil {
			p.Port = uint16(*ref.Port)
		}
		switch {
		case isCore(group) && what == "Service":
			p.Kind = ParentService
		case group == policyGroup && what == "Server":
			p.Kind = ParentServer
		case group == policyGroup && what == "EgressNetwork":
			p.Kind = ParentEgress
		}
		out[i] = p
	}
	return out
}

// Includes reports whether the reference includes the port of the Service that it names.
func (p *ParentRef) Includes(port ServicePort) bool {
	return (p.Port == 0 || p.Port == port.Port) && (p.Section == "" || p.Section == port.Name)
}
