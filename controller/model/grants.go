package model

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// grant is the record of a ReferenceGrant, as far as it is about Services.
type grant struct {
	types.NamespacedName
	from []grantee
	// services that may be referred to; nil for all of the namespace.
	services []string
}

// grantee is the kind and namespace of those who may refer.
type grantee struct {
	kind      routeKind
	namespace string
}

func (s *Store) applyGrant(o *gatewayv1.ReferenceGrant, deleted bool) Change {
	key := nameOf(o)
	if old := s.grants[key]; old != nil {
		delete(s.grants, key)
		unlink(s.grantsIn, key.Namespace, old)
	}
	if now := newGrant(o); !deleted && now != nil {
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

// newGrant returns nil for a grant of something else than Services.
func newGrant(o *gatewayv1.ReferenceGrant) *grant {
	g := &grant{NamespacedName: nameOf(o)}
	all, some := false, false
	for _, to := range o.Spec.To {
		switch {
		case !isCore(string(to.Group)) || to.Kind != "Service":
		case to.Name == nil || *to.Name == "":
			all = true
		default:
			some = true
			g.services = append(g.services, string(*to.Name))
		}
	}
	if all {
		g.services = nil
	} else if !some {
		return nil
	}
	for _, from := range o.Spec.From {
		g.from = append(g.from, grantee{routeKind{string(from.Group), string(from.Kind)}, string(from.Namespace)})
	}
	return g
}

// granted reports whether the namespace of the Service lets r refer to it.
func (s *Store) granted(r *route, to types.NamespacedName) bool {
	who := grantee{r.routeKind, r.Namespace}
	return slices.ContainsFunc(s.grantsIn[to.Namespace], func(g *grant) bool {
		return slices.Contains(g.from, who) && (g.services == nil || slices.Contains(g.services, to.Name))
	})
}
