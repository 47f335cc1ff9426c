package compile

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// ParseStreamRoute reads a route of connections, which has exactly one rule: there is nothing by which a connection
// could choose. One that has more, or none, refuses its connections.
func ParseStreamRoute(kind RouteKind, namespace string, parents []gatewayv1.ParentReference,
	rules [][]gatewayv1.BackendRef) *Route {
	c := newCompiler(kind, namespace)
	var out mesh.Rule
	if len(rules) != 1 {
		c.unsupported("spec.rules", "%d rules: a %s has exactly one", len(rules), kind.Kind)
		out.Invalid, out.Backends = c.broken, []mesh.WeightedBackend{{Weight: 1, Invalid: c.broken}}
		return c.route(parents, []mesh.Rule{out}, make([]RuleBounds, 1))
	}
	path := ElementPath("spec", "rules", 0)
	refs := atMost(c, path+".backendRefs", rules[0], maxBackends)
	for i := range refs {
		out.Backends = append(out.Backends, c.weighted(ElementPath(path, "backendRefs", i), &refs[i]))
	}
	return c.route(parents, []mesh.Rule{out}, make([]RuleBounds, 1))
}
