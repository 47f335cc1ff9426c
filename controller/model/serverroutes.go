package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
)

// serverRoute is the part of a route that governs requests to Servers.
type serverRoute struct {
	ref     mesh.Ref
	created time.Time
	servers []types.NamespacedName
	route   mesh.Route
}

// setServerRoute makes now the route that ref names, for Servers; nil if it is none, or none any more.
func (s *Store) setServerRoute(ref mesh.Ref, now *serverRoute, change *Change) {
	a := &s.access
	var touched []types.NamespacedName
	old := a.routes[ref]
	if old != nil {
		s.touchOverLimit(old.servers)
		delete(a.routes, ref)
		for _, n := range old.servers {
			unlink(a.routesAt, n, old)
		}
		touched = append(touched, old.servers...)
	}
	if now != nil {
		a.routes[ref] = now
		for _, n := range now.servers {
			link(a.routesAt, n, now)
			slices.SortFunc(a.routesAt[n], olderRoute)
		}
		s.touchOverLimit(now.servers)
		touched = append(touched, now.servers...)
	}
	slices.SortFunc(touched, func(x, y types.NamespacedName) int {
		return cmp.Or(strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name))
	})
	for _, n := range slices.Compact(touched) {
		s.refreshServer(n, change)
	}
	if (old == nil) != (now == nil) {
		for _, p := range a.policiesAt[ref] {
			s.outcomes.touch(keyOf(p.ref()))
		}
	}
}

// touchOverLimit touches the outcomes of the routes of those Servers that have more than they may: which ones are
// active depends on all.
func (s *Store) touchOverLimit(servers []types.NamespacedName) {
	for _, n := range servers {
		if all := s.access.routesAt[n]; len(s.routesFor(n)) < len(all) {
			for _, r := range all {
				s.outcomes.touch(keyOf(r.ref))
			}
		}
	}
}

// routesFor returns the routes that govern the Server n, the oldest first: those whose rules are not too many.
func (s *Store) routesFor(n types.NamespacedName) []*serverRoute {
	all, rules := s.access.routesAt[n], 0
	for i, r := range all {
		if rules += len(r.route.Rules); rules > maxPortRules {
			return all[:i]
		}
	}
	return all
}

// activeAtServer reports whether the route governs the Server n.
func (s *Store) activeAtServer(route mesh.Ref, n types.NamespacedName) bool {
	return slices.ContainsFunc(s.routesFor(n), func(r *serverRoute) bool { return r.ref == route })
}

// olderRoute orders the routes of a Server: of two whose rules match a request equally well, the first wins.
func olderRoute(x, y *serverRoute) int {
	return cmp.Or(x.created.Compare(y.created), cmp.Compare(x.ref.Namespace, y.ref.Namespace),
		cmp.Compare(x.ref.Name, y.ref.Name),
		cmp.Compare(x.ref.Kind, y.ref.Kind), cmp.Compare(x.ref.Group, y.ref.Group))
}
