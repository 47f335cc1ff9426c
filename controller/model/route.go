package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// route is the record of a route of any kind. All of it but resolved never changes.
type route struct {
	objectKey
	routeKind  compile.RouteKind
	uid        types.UID
	generation int64
	created    time.Time
	requests   compile.RequestSettings
	// latest is what the object says now. active is what applies: latest, or an earlier generation's if latest has
	// mistakes and that had none.
	latest, active *compile.Route
	// resolved holds the rules with their references looked up, by parent Service; touching the route empties it.
	// Published answers share the slices, and streams read those on other goroutines: a slice is never written again.
	resolved map[types.NamespacedName][]mesh.Rule
}

// newRoute completes the record of a route that says latest.
func newRoute(kind compile.RouteKind, o metav1.Object, latest *compile.Route, e Event, prior *route) *route {
	r := &route{
		objectKey:  objectKey{kind.Group, kind.Kind, compile.NameOf(o)},
		routeKind:  kind,
		uid:        o.GetUID(),
		generation: o.GetGeneration(),
		created:    o.GetCreationTimestamp().Time,
		latest:     latest,
		active:     latest,
	}
	latest.Generation = r.generation
	latest.Findings.IgnoreUnknownFields(e.Unknown)
	if prior != nil && prior.uid != r.uid {
		prior = nil
	}
	var before compile.RequestSettings
	if prior != nil {
		before = prior.requests
		if latest.HasMistakes() && !prior.active.HasMistakes() {
			r.active = prior.active
		}
	}
	r.requests = compile.ParseRequestSettings(o, e.At, false, before)
	return r
}

func (r *route) ref() ObjectRef {
	return ObjectRef{Group: r.group, Kind: r.kind, Namespace: r.Namespace, Name: r.Name, UID: r.uid}
}

func (r *route) meshRef() mesh.Ref {
	return mesh.Ref{Group: r.group, Kind: r.kind, Namespace: r.Namespace, Name: r.Name}
}

// compare orders the routes of one parent: the oldest first, then by name. Source: Gateway API, "Route conflict
// resolution".
func (r *route) compare(other *route) int {
	return cmp.Or(r.created.Compare(other.created), cmp.Compare(r.Namespace, other.Namespace),
		cmp.Compare(r.Name, other.Name), cmp.Compare(r.group, other.group))
}

// applyRoute puts now in the place of the route of the same kind and name; nil takes that away.
func (s *Store) applyRoute(key objectKey, now *route) Change {
	var change Change
	s.setServerRoute(mesh.Ref{Group: key.group, Kind: key.kind, Namespace: key.Namespace, Name: key.Name},
		now.serverRoute(), &change)
	old := s.routes[key]
	if old != nil {
		delete(s.routes, key)
		s.indexRoute(old, false)
		s.touchRoute(old, &change)
		s.touchSiblings(old)
	}
	if now != nil {
		s.routes[key] = now
		s.indexRoute(now, true)
		s.touchRoute(now, &change)
		s.touchSiblings(now)
		var before compile.Findings
		if old != nil {
			before = old.requests.Findings
		}
		change.report(now.ref(), newFindings(before, now.requests.Findings))
	}
	change.Addrs = unique(change.Addrs)
	return change
}

// serverRoute returns what r says about requests to Servers; nil if it, which may be nil, is attached to none. A route
// governs Servers of its own namespace alone: nobody else's.
func (r *route) serverRoute() *serverRoute {
	if r == nil || r.routeKind.IsOpaque() {
		return nil
	}
	var servers []types.NamespacedName
	for i := range r.active.Parents {
		if p := &r.active.Parents[i]; p.Kind == compile.ParentServer && p.Namespace == r.Namespace &&
			!slices.Contains(servers, p.NamespacedName) {
			servers = append(servers, p.NamespacedName)
		}
	}
	if len(servers) == 0 {
		return nil
	}
	out := &serverRoute{
		ref: r.meshRef(), created: r.created, servers: servers,
		route: mesh.Route{Ref: r.meshRef(), GRPC: r.routeKind == compile.KindGRPCRoute,
			Rules: make([]mesh.Rule, len(r.active.Rules))},
	}
	for i, rule := range r.active.Rules {
		rule.Backends, rule.Policy = nil, mesh.RequestPolicy{}
		rule.Filters = slices.DeleteFunc(slices.Clone(rule.Filters), func(f mesh.Filter) bool { return f.Mirror != nil })
		out.route.Rules[i] = rule
	}
	if n := r.active.Truncated; n > 0 {
		out.route.Rules = append(out.route.Rules, mesh.Rule{Matches: compile.AnyMatch(), Invalid: fmt.Sprintf(
			"spec.rules: %d more than the %d that are the most", n, compile.MaxRules)})
	}
	return out
}

// parentServices calls f for each Service that the route is, or claims to be, attached to; maybe more than once.
func (r *route) parentServices(f func(types.NamespacedName)) {
	for _, spec := range []*compile.Route{r.active, r.latest} {
		for i := range spec.Parents {
			if spec.Parents[i].Kind == compile.ParentService {
				f(spec.Parents[i].NamespacedName)
			}
		}
		if r.latest == r.active {
			return
		}
	}
}
