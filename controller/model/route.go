package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// policyGroup is the API group of Server, and of the HTTPRoute that is older than Gateway API's.
const policyGroup = "policy.linkerd.io"

// routeKind is the group and kind of a route.
type routeKind struct{ group, kind string }

var (
	grpcRoute       = routeKind{gatewayv1.GroupName, "GRPCRoute"}
	httpRoute       = routeKind{gatewayv1.GroupName, "HTTPRoute"}
	policyHTTPRoute = routeKind{policyGroup, "HTTPRoute"}
	tlsRoute        = routeKind{gatewayv1.GroupName, "TLSRoute"}
	tcpRoute        = routeKind{gatewayv1.GroupName, "TCPRoute"}
)

// rank is the order in which kinds give way to each other at one port of a Service: the lowest stays. Source: Linkerd.
func (k routeKind) rank() int {
	switch k {
	case grpcRoute:
		return 0
	case httpRoute, policyHTTPRoute:
		return 1
	case tlsRoute:
		return 2
	default:
		return 3
	}
}

// isStream reports whether routes of the kind share connections, not requests.
func (k routeKind) isStream() bool { return k.rank() >= 2 }

// route is the record of a route of any kind. But for resolved it never changes.
type route struct {
	statusKey
	routeKind  routeKind
	uid        types.UID
	generation int64
	created    time.Time
	settings   requestSettings
	// said is what the object says now. served is what holds: said, or an earlier generation's if said has mistakes and that had none.
	said, served *routeSpec
	// resolved holds the rules with their references looked up, by parent Service; touching the route empties it.
	resolved map[types.NamespacedName][]mesh.Rule
}

// routeSpec is what one generation of a route says, without what other objects say about it.
type routeSpec struct {
	generation int64
	parents    []parentRef
	hostnames  []string // of a TLSRoute; of others for people only
	rules      []mesh.Rule
	unread     int          // rules beyond the most that are looked at
	bounds     []ruleBounds // of rules, by index
	// uses are the ports of Services that the rules name, each once.
	uses     []mesh.ServiceRef
	findings Findings
}

// broken reports whether the generation has mistakes.
func (sp *routeSpec) broken() bool { return sp.findings.Has(Invalid) }

// newRoute completes the record of a route that says said.
func newRoute(kind routeKind, o metav1.Object, said *routeSpec, e Event, prior *route) *route {
	r := &route{
		statusKey:  statusKey{kind.group, kind.kind, nameOf(o)},
		routeKind:  kind,
		uid:        o.GetUID(),
		generation: o.GetGeneration(),
		created:    o.GetCreationTimestamp().Time,
		said:       said,
		served:     said,
	}
	said.generation = r.generation
	said.findings.IgnoreUnknownFields(e.Unknown)
	if prior != nil && prior.uid != r.uid {
		prior = nil
	}
	var before requestSettings
	if prior != nil {
		before = prior.settings
		if said.broken() && !prior.served.broken() {
			r.served = prior.served
		}
	}
	r.settings = parseRequestSettings(o, e.At, false, before)
	return r
}

func (r *route) ref() ObjectRef {
	return ObjectRef{Group: r.group, Kind: r.kind, Namespace: r.Namespace, Name: r.Name, UID: r.uid}
}

func (r *route) meshRef() mesh.Ref {
	return mesh.Ref{Group: r.group, Kind: r.kind, Namespace: r.Namespace, Name: r.Name}
}

// compare orders the routes of one parent: the oldest first, then by name. Source: Gateway API, "Route conflict resolution".
func (r *route) compare(other *route) int {
	return cmp.Or(r.created.Compare(other.created), cmp.Compare(r.Namespace, other.Namespace),
		cmp.Compare(r.Name, other.Name), cmp.Compare(r.group, other.group))
}

// applyRoute puts now in the place of the route of the same kind and name; nil takes that away.
func (s *Store) applyRoute(key statusKey, now *route) Change {
	var change Change
	s.setServerRoute(mesh.Ref{Group: key.group, Kind: key.kind, Namespace: key.Namespace, Name: key.Name}, now.atServers(), &change)
	old := s.routes[key]
	if old != nil {
		delete(s.routes, key)
		s.indexRoute(old, false)
		s.touchRoute(old, &change)
		s.touchParents(old)
	}
	if now != nil {
		s.routes[key] = now
		s.indexRoute(now, true)
		s.touchRoute(now, &change)
		s.touchParents(now)
		var before Findings
		if old != nil {
			before = old.settings.findings
		}
		change.report(now.ref(), newFindings(before, now.settings.findings))
	}
	change.Addrs = unique(change.Addrs)
	return change
}

// atServers returns what r says about requests to Servers; nil if it, which may be nil, is attached to none. A route governs Servers of
// its own namespace alone: nobody else's.
func (r *route) atServers() *serverRoute {
	if r == nil || r.routeKind.isStream() {
		return nil
	}
	var servers []types.NamespacedName
	for i := range r.served.parents {
		if p := &r.served.parents[i]; p.kind == parentServer && p.Namespace == r.Namespace && !slices.Contains(servers, p.NamespacedName) {
			servers = append(servers, p.NamespacedName)
		}
	}
	if len(servers) == 0 {
		return nil
	}
	out := &serverRoute{
		ref: r.meshRef(), created: r.created, servers: servers,
		route: mesh.Route{Ref: r.meshRef(), GRPC: r.routeKind == grpcRoute, Rules: make([]mesh.Rule, len(r.served.rules))},
	}
	for i, rule := range r.served.rules {
		rule.Backends, rule.Policy = nil, mesh.RequestPolicy{}
		rule.Filters = slices.DeleteFunc(slices.Clone(rule.Filters), func(f mesh.Filter) bool { return f.Mirror != nil })
		out.route.Rules[i] = rule
	}
	if n := r.served.unread; n > 0 {
		out.route.Rules = append(out.route.Rules, mesh.Rule{Matches: anyMatch(), Invalid: fmt.Sprintf(
			"spec.rules: %d more than the %d that are the most", n, maxRules)})
	}
	return out
}

// parentServices calls f for each Service that the route is, or claims to be, attached to; maybe more than once.
func (r *route) parentServices(f func(types.NamespacedName)) {
	for _, spec := range []*routeSpec{r.served, r.said} {
		for i := range spec.parents {
			if spec.parents[i].kind == parentService {
				f(spec.parents[i].NamespacedName)
			}
		}
		if r.said == r.served {
			return
		}
	}
}
