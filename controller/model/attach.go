package model

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// maxPortRules bounds the rules at one port of a Service, in all routes together: what proxies compile and search.
const maxPortRules = 2048

// governing returns the routes that hold for the clients of a namespace, those that win a tie first, and all of one
// rank. Those of the Service's own namespace, its producer's, hold for the clients of every namespace without routes of
// its own: nothing that one namespace says about a Service of another touches the clients of a third. Source: GEP-1426.
func (s *Store) governing(svc *compile.Service, port compile.ServicePort, namespace string) []*route {
	own := s.attached(svc, port, namespace)
	if len(own) == 0 && namespace != svc.Namespace {
		own = s.attached(svc, port, svc.Namespace)
	}
	return own
}

// attached returns the routes of one namespace that hold at a port, of the rank that the others give way to.
func (s *Store) attached(svc *compile.Service, port compile.ServicePort, namespace string) []*route {
	var out []*route
	for _, r := range s.routesByParent[svc.NamespacedName] {
		if r.Namespace != namespace || !r.active.Attaches(svc, port) {
			continue
		}
		if len(out) > 0 && r.routeKind.Rank() > out[0].routeKind.Rank() {
			continue
		}
		if len(out) > 0 && r.routeKind.Rank() < out[0].routeKind.Rank() {
			out = out[:0]
		}
		out = append(out, r)
	}
	slices.SortFunc(out, (*route).compare)
	return fitting(out)
}

// fitting leaves out the routes that are one too many: rules beyond the bound, and TCPRoutes behind the first, whose
// connections tell nothing by which to choose among them.
func fitting(routes []*route) []*route {
	rules := 0
	for i, r := range routes {
		rules += len(r.active.Rules)
		if rules > maxPortRules || i > 0 && r.routeKind == compile.KindTCPRoute {
			return routes[:i]
		}
	}
	return routes
}

// dependsOnNamespace reports whether the answer about svc differs for clients in the namespace.
func (s *Store) dependsOnNamespace(svc *compile.Service, namespace string) bool {
	if namespace == svc.Namespace {
		return false
	}
	return slices.ContainsFunc(s.routesByParent[svc.NamespacedName],
		func(r *route) bool { return r.Namespace == namespace }) ||
		slices.ContainsFunc(s.profilesByService[svc.NamespacedName],
			func(p *profile) bool { return p.Namespace == namespace })
}

// route completes the answer about a port of a Service by what governs it.
func (r *resolver) route(out *mesh.Outbound, svc *compile.Service, port compile.ServicePort) {
	out.Policy, out.Accrual = svc.Requests.Policy, svc.Requests.Accrual
	backends := map[mesh.ServiceRef]struct{}{}
	if p := r.store.profileFor(svc, r.namespaceOf(svc)); p != nil {
		if p.active.Opaque.Contains(port.Port) {
			out.Protocol = mesh.Opaque
		}
		if p.active.ReplacesRoutes() {
			out.Profile = r.store.resolvedProfile(p)
			collect(backends, out.Profile.Overrides)
		}
	}
	for _, route := range r.store.governing(svc, port, r.namespaceOf(svc)) {
		rules := r.store.rulesFor(route, svc)
		if route.routeKind.IsOpaque() {
			out.OpaqueRules = append(out.OpaqueRules, mesh.OpaqueRule{Ref: route.meshRef(), Hostnames: route.active.Hostnames,
				Backends: rules[0].Backends})
		} else if out.Profile == nil {
			out.Routes = append(out.Routes, mesh.Route{Ref: route.meshRef(), GRPC: route.routeKind == compile.KindGRPCRoute,
				Rules: rules})
		} else {
			continue
		}
		for i := range rules {
			collect(backends, rules[i].Backends)
			collectMirrors(backends, rules[i].Filters)
		}
	}
	delete(backends, out.Service)
	out.Backends = r.backends(backends)
}

// namespaceOf returns the namespace whose clients the query is about: the Service's own stands for all without
// routes of their own.
func (r *resolver) namespaceOf(svc *compile.Service) string {
	if r.q.Namespace == "" {
		return svc.Namespace
	}
	return r.q.Namespace
}

func collect(into map[mesh.ServiceRef]struct{}, list []mesh.WeightedBackend) {
	for i := range list {
		if list[i].Invalid == "" {
			into[list[i].Service] = struct{}{}
		}
		collectMirrors(into, list[i].Filters)
	}
}

func collectMirrors(into map[mesh.ServiceRef]struct{}, filters []mesh.Filter) {
	for i := range filters {
		if m := filters[i].Mirror; m != nil && m.Backend.Invalid == "" {
			into[m.Backend.Service] = struct{}{}
		}
	}
}

// backends describes Services that routes send to, sorted.
func (r *resolver) backends(refs map[mesh.ServiceRef]struct{}) []mesh.Backend {
	if len(refs) == 0 {
		return nil
	}
	out := make([]mesh.Backend, 0, len(refs))
	for ref := range refs {
		svc := r.store.services[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}]
		if svc == nil {
			continue
		}
		port, ok := svc.Port(ref.Port)
		if !ok {
			continue
		}
		b := mesh.Backend{Service: ref, Authority: r.store.authority(ref), Accrual: svc.Requests.Accrual}
		// A client of one address family has a backend of the other if its node has.
		if b.Endpoints, b.Protocol = r.endpoints(svc, port, r.v4()); len(b.Endpoints) == 0 {
			b.Endpoints, b.Protocol = r.endpoints(svc, port, !r.v4())
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b mesh.Backend) int { return compareRefs(a.Service, b.Service) })
	return out
}

// sendsToNodes reports whether requests to svc may be sent to a Service whose endpoints depend on the client's node.
func (s *Store) sendsToNodes(svc *compile.Service) bool {
	near := func(ref mesh.ServiceRef) bool {
		to := s.services[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}]
		return to != nil && s.dependsOnNode(to)
	}
	return slices.ContainsFunc(s.routesByParent[svc.NamespacedName],
		func(r *route) bool { return slices.ContainsFunc(r.active.References, near) }) ||
		slices.ContainsFunc(s.profilesByService[svc.NamespacedName],
			func(p *profile) bool { return slices.ContainsFunc(p.active.References, near) })
}

func compareRefs(a, b mesh.ServiceRef) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
}
