package model

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

func (s *Store) applyTLSRoute(o *gatewayv1.TLSRoute, e Event) Change {
	key := statusKey{tlsRoute.group, tlsRoute.kind, nameOf(o)}
	if e.Deleted {
		return s.applyRoute(key, nil)
	}
	rules := make([][]gatewayv1.BackendRef, len(o.Spec.Rules))
	for i := range o.Spec.Rules {
		rules[i] = o.Spec.Rules[i].BackendRefs
	}
	said := compileStream(tlsRoute, o.Namespace, o.Spec.ParentRefs, rules)
	for _, h := range o.Spec.Hostnames {
		said.hostnames = append(said.hostnames, string(h))
	}
	return s.applyRoute(key, newRoute(tlsRoute, o, said, e, s.routes[key]))
}

func (s *Store) applyTCPRoute(o *gatewayv1.TCPRoute, e Event) Change {
	key := statusKey{tcpRoute.group, tcpRoute.kind, nameOf(o)}
	if e.Deleted {
		return s.applyRoute(key, nil)
	}
	rules := make([][]gatewayv1.BackendRef, len(o.Spec.Rules))
	for i := range o.Spec.Rules {
		rules[i] = o.Spec.Rules[i].BackendRefs
	}
	return s.applyRoute(key, newRoute(tcpRoute, o, compileStream(tcpRoute, o.Namespace, o.Spec.ParentRefs, rules), e, s.routes[key]))
}

// compileStream reads a route of connections, which has exactly one rule: there is nothing by which a connection could choose. One that
// has more, or none, refuses its connections.
func compileStream(kind routeKind, namespace string, parents []gatewayv1.ParentReference, rules [][]gatewayv1.BackendRef) *routeSpec {
	c := newCompiler(kind, namespace)
	var out mesh.Rule
	if len(rules) != 1 {
		c.unsupported("spec.rules", "%d rules: a %s has exactly one", len(rules), kind.kind)
		out.Invalid, out.Backends = c.broken, []mesh.WeightedBackend{{Weight: 1, Invalid: c.broken}}
		return c.spec(parents, []mesh.Rule{out}, make([]ruleBounds, 1))
	}
	path := at("spec", "rules", 0)
	refs := atMost(c, path+".backendRefs", rules[0], maxBackends)
	for i := range refs {
		out.Backends = append(out.Backends, c.weighted(at(path, "backendRefs", i), &refs[i]))
	}
	return c.spec(parents, []mesh.Rule{out}, make([]ruleBounds, 1))
}
