package model

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

func (s *Store) applyGrant(o *gatewayv1.ReferenceGrant, deleted bool) Change {
	key := compile.NameOf(o)
	if old := s.grants[key]; old != nil {
		delete(s.grants, key)
		unlink(s.grantsIn, key.Namespace, old)
	}
	if now := compile.ParseReferenceGrant(o); !deleted && now != nil {
		s.grants[key] = now
		link(s.grantsIn, key.Namespace, now)
	}
	var change Change
	for _, r := range s.foreign[key.Namespace] {
		s.touchRoute(r, &change)
	}
	change.Addrs = unique(change.Addrs)
	return change
}

// granted reports whether the namespace of the Service lets r refer to it.
func (s *Store) granted(r *route, to types.NamespacedName) bool {
	return slices.ContainsFunc(s.grantsIn[to.Namespace],
		func(g *compile.Grant) bool { return g.Allows(r.routeKind, r.Namespace, to.Name) })
}
