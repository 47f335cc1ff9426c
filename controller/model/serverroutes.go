package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// serverRoute is the part of a route that governs requests to Servers.
type serverRoute struct {
	ref     mesh.Ref
	created time.Time
	servers []name
	route   mesh.Route
}

// setServerRoute makes now the route that ref names, for Servers; nil if it is none, or none any more.
func (s *Store) setServerRoute(ref mesh.Ref, now *serverRoute, change *Change) {
	a := &s.access
	var touched []name
	old := a.routes[ref]
	if old != nil {
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
		touched = append(touched, now.servers...)
	}
	slices.SortFunc(touched, func(x, y name) int {
		return cmp.Or(strings.Compare(x.namespace, y.namespace), strings.Compare(x.name, y.name))
	})
	for _, n := range slices.Compact(touched) {
		s.refreshServer(n, change)
	}
	if (old == nil) != (now == nil) {
		for _, p := range a.policiesAt[ref] {
			s.statuses.touch(keyOf(p.ref()))
		}
	}
}

// olderRoute orders the routes of a Server: of two whose rules match a request equally well, the first wins.
func olderRoute(x, y *serverRoute) int {
	return cmp.Or(x.created.Compare(y.created), cmp.Compare(x.ref.Namespace, y.ref.Namespace), cmp.Compare(x.ref.Name, y.ref.Name),
		cmp.Compare(x.ref.Kind, y.ref.Kind), cmp.Compare(x.ref.Group, y.ref.Group))
}
