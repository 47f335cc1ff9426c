package model

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// rulesFor returns the rules that r serves to clients of parent, with their policy, and with every reference looked up.
func (s *Store) rulesFor(r *route, parent *compile.Service) []mesh.Rule {
	if rules, ok := r.resolved[parent.NamespacedName]; ok {
		return rules
	}
	rules := make([]mesh.Rule, len(r.active.Rules))
	policy := r.requests.Over(parent.Requests)
	for i := range rules {
		rules[i] = r.active.Rules[i]
		rules[i].Matches = compile.ServiceMatches(rules[i].Matches)
		rules[i].Policy = r.active.Bounds[i].Over(policy)
		rules[i].Backends = s.resolveBackends(r, parent.NamespacedName, rules[i].Backends)
		rules[i].Filters = s.resolveMirrors(r, parent.NamespacedName, rules[i].Filters)
	}
	if r.resolved == nil {
		r.resolved = map[types.NamespacedName][]mesh.Rule{}
	}
	r.resolved[parent.NamespacedName] = rules
	return rules
}

// resolveBackends returns the backends, those marked that cannot be used; list itself if all can.
func (s *Store) resolveBackends(r *route, parent types.NamespacedName,
	list []mesh.WeightedBackend) []mesh.WeightedBackend {
	out, copied := list, false
	for i := range list {
		b := list[i]
		b.Filters = s.resolveMirrors(r, parent, b.Filters)
		if b.Invalid == "" {
			_, b.Invalid = s.lookup(r, parent, b.Service)
		}
		if b.Invalid == list[i].Invalid && sameSlice(b.Filters, list[i].Filters) {
			continue
		}
		if !copied {
			out, copied = append([]mesh.WeightedBackend(nil), list...), true
		}
		out[i] = b
	}
	return out
}

// resolveMirrors does the same for what filters copy requests to.
func (s *Store) resolveMirrors(r *route, parent types.NamespacedName, list []mesh.Filter) []mesh.Filter {
	out, copied := list, false
	for i := range list {
		if list[i].Mirror == nil || list[i].Mirror.Backend.Invalid != "" {
			continue
		}
		_, invalid := s.lookup(r, parent, list[i].Mirror.Backend.Service)
		if invalid == "" {
			continue
		}
		if !copied {
			out, copied = append([]mesh.Filter(nil), list...), true
		}
		mirror := *list[i].Mirror
		mirror.Backend.Invalid = invalid
		out[i].Mirror = &mirror
	}
	return out
}

func sameSlice[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// lookup says why r, which is attached to parent, has nothing to send to at to; both "" if it has. Another namespace
// must have agreed, but for the parent Service itself: its clients meant to reach it in the first place. The message
// says whether something exists there only if access is granted.
func (s *Store) lookup(r *route, parent types.NamespacedName,
	to mesh.ServiceRef) (reason gatewayv1.RouteConditionReason, message string) {
	target := types.NamespacedName{Namespace: to.Namespace, Name: to.Name}
	if to.Namespace != r.Namespace && target != parent && !s.granted(r, target) {
		return gatewayv1.RouteReasonRefNotPermitted,
			fmt.Sprintf("no ReferenceGrant in namespace %s allows %ss of namespace %s to refer to Service %s",
				to.Namespace, r.kind, r.Namespace, to.Name)
	}
	return s.exists(to)
}

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
