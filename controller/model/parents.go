package model

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// parentRef is what a route is attached to, or claims to be.
type parentRef struct {
	kind parentKind
	types.NamespacedName
	// port and section narrow a Service to one port; 0 and "" do not.
	port    uint16
	section string
	raw     gatewayv1.ParentReference
}

// parentKind tells what a parentRef names.
type parentKind uint8

const (
	parentOther parentKind = iota // another controller's business
	parentService
	parentServer
	parentEgress // Linkerd's EgressNetwork, which this control plane does not have
)

// newParentRefs reads parentRefs. What they leave out depends on the kind of route: Gateway API's means a Gateway, and that of
// policy.linkerd.io a Server.
func newParentRefs(kind routeKind, namespace string, refs []gatewayv1.ParentReference) []parentRef {
	out := make([]parentRef, len(refs))
	for i, ref := range refs {
		group, what := gatewayv1.GroupName, "Gateway"
		if kind == policyHTTPRoute {
			group, what = policyGroup, "Server"
		}
		if ref.Group != nil {
			group = string(*ref.Group)
		}
		if ref.Kind != nil {
			what = string(*ref.Kind)
		}
		p := parentRef{NamespacedName: types.NamespacedName{Namespace: namespace, Name: string(ref.Name)}, section: string(value(ref.SectionName)), raw: ref}
		if ref.Namespace != nil {
			p.Namespace = string(*ref.Namespace)
		}
		if ref.Port != nil {
			p.port = uint16(*ref.Port)
		}
		switch {
		case isCore(group) && what == "Service":
			p.kind = parentService
		case group == policyGroup && what == "Server":
			p.kind = parentServer
		case group == policyGroup && what == "EgressNetwork":
			p.kind = parentEgress
		}
		out[i] = p
	}
	return out
}

// meets reports whether the reference includes the port of the Service that it names.
func (p *parentRef) meets(port servicePort) bool {
	return (p.port == 0 || p.port == port.port) && (p.section == "" || p.section == port.name)
}

// problem says why the Service cannot be a parent; "" if it can.
func (p *parentRef) problem(svc *service) string {
	switch {
	case svc == nil:
		return fmt.Sprintf("there is no Service %s in namespace %s", p.Name, p.Namespace)
	case len(svc.clusterIPs) == 0:
		return "parent service must have a ClusterIP"
	case p.port == 0 && p.section == "":
		return ""
	}
	for _, port := range svc.ports {
		if p.meets(port) {
			return ""
		}
	}
	if p.section == "" {
		return fmt.Sprintf("Service %s has no TCP port %d", p.Name, p.port)
	}
	if p.port == 0 {
		return fmt.Sprintf("Service %s has no TCP port that is named %s", p.Name, p.section)
	}
	return fmt.Sprintf("Service %s has no TCP port %d that is named %s", p.Name, p.port, p.section)
}
