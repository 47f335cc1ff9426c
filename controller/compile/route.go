package compile

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// policyGroup is the API group of Server, and of the HTTPRoute that is older than Gateway API's.
const policyGroup = v1alpha1.PolicyGroup

// RouteKind is the group and kind of a route.
type RouteKind struct{ Group, Kind string }

var (
	KindGRPCRoute       = RouteKind{gatewayv1.GroupName, "GRPCRoute"}
	KindHTTPRoute       = RouteKind{gatewayv1.GroupName, "HTTPRoute"}
	KindPolicyHTTPRoute = RouteKind{policyGroup, "HTTPRoute"}
	KindTLSRoute        = RouteKind{gatewayv1.GroupName, "TLSRoute"}
	KindTCPRoute        = RouteKind{gatewayv1.GroupName, "TCPRoute"}
)

// Rank is the order in which kinds give way to each other at one port of a Service: the lowest stays. Source: Linkerd.
func (k RouteKind) Rank() int {
	switch k {
	case KindGRPCRoute:
		return 0
	case KindHTTPRoute, KindPolicyHTTPRoute:
		return 1
	case KindTLSRoute:
		return 2
	default:
		return 3
	}
}

// IsOpaque reports whether routes of the kind are for opaque connections, not for requests.
func (k RouteKind) IsOpaque() bool { return k.Rank() >= 2 }

// Route is what one generation of a route says, without what other objects say about it.
type Route struct {
	Generation int64
	Parents    []ParentRef
	Hostnames  []string // of a TLSRoute
	Rules      []mesh.Rule
	Truncated  int          // rules beyond the most that are looked at
	Bounds     []RuleBounds // of rules, by index
	// References are the ports of Services that the rules name, each once.
	References []mesh.ServiceRef
	Findings   Findings
}

// HasMistakes reports whether the generation has mistakes.
func (r *Route) HasMistakes() bool { return r.Findings.Has(Invalid) }

func (r *Route) Attaches(svc *Service, port ServicePort) bool {
	return slices.ContainsFunc(r.Parents, func(p ParentRef) bool {
		return p.Kind == ParentService && p.NamespacedName == svc.NamespacedName && p.Includes(port)
	})
}
