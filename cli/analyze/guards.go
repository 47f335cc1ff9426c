package analyze

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// pathMatch is a path that a rule of an HTTPRoute matches.
type pathMatch struct {
	kind, value string
	rule        int // its place in the route
}

// matches reports whether a path is matched by an Exact or PathPrefix match.
func (p pathMatch) matches(path string) bool {
	prefix := strings.TrimSuffix(p.value, "/")
	return p.kind == "Exact" && p.value == path || p.kind == "PathPrefix" &&
		(prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/"))
}

// guardRoute is an HTTPRoute of a Server.
type guardRoute struct {
	*object
	paths []pathMatch
	lets  []string // whom its policies let in, each as the policy's requirements; sorted
}

// checkGuards finds routes that guard an Exact path beside a route with a prefix over it which lets in others: what
// many servers take for the same path, such as /admin/ for /admin, falls under the prefix. Source: Gateway API,
// HTTPPathMatch.
func checkGuards(w *World) {
	for _, server := range w.sorted("Server") {
		routes := w.guardRoutes(server)
		for _, guard := range routes {
			for _, p := range guard.paths {
				if p.kind != "Exact" || p.value == "/" {
					continue
				}
				i := slices.IndexFunc(routes,
					func(r guardRoute) bool { return r.object != guard.object && r.covers(p.value) && r.wider(guard) })
				if i >= 0 {
					w.report(Warning, "ExactGuard", guard.object, "guards only Exact %s of Server %s: "+
						"HTTPRoute %s matches %s/, %s and similar paths, and lets in other clients; "+
						"match PathPrefix %s instead (docs/authorization.md#exact)", p.value, server.name.name, routes[i].name.name,
						p.value, strings.ToUpper(p.value), p.value)
				}
			}
		}
	}
}

// covers reports whether a prefix of the route matches what is below a path.
func (r guardRoute) covers(path string) bool {
	return slices.ContainsFunc(r.paths, func(p pathMatch) bool {
		return p.kind == "PathPrefix" && p.matches(path)
	})
}

// wider reports whether the route lets in somebody whom the guard does not, as far as their policies tell.
func (r guardRoute) wider(guard guardRoute) bool {
	if slices.Contains(guard.lets, "") {
		return false // everybody
	}
	return slices.ContainsFunc(r.lets, func(who string) bool { return !slices.Contains(guard.lets, who) })
}

// guardRoutes returns the HTTPRoutes of a Server.
func (w *World) guardRoutes(server *object) (out []guardRoute) {
	type routeMatches struct {
		Rules []struct {
			Matches []struct {
				Path *struct{ Type, Value string }
			}
		}
	}
	w.each("HTTPRoute", func(o *object) {
		if !spec[routeSpec](o).attachedTo(server, o.namespace) {
			return
		}
		r := guardRoute{object: o, lets: w.letIn(o)}
		for i, rule := range spec[routeMatches](o).Rules {
			if len(rule.Matches) == 0 {
				r.paths = append(r.paths, pathMatch{"PathPrefix", "/", i})
			}
			for _, m := range rule.Matches {
				p := pathMatch{"PathPrefix", "/", i}
				if m.Path != nil {
					p = pathMatch{cmp.Or(m.Path.Type, "PathPrefix"), cmp.Or(m.Path.Value, "/"), i}
				}
				r.paths = append(r.paths, p)
			}
		}
		out = append(out, r)
	})
	return out
}

// letIn returns what each policy of a route requires.
func (w *World) letIn(route *object) (out []string) {
	w.each("AuthorizationPolicy", func(o *object) {
		s := spec[v1alpha1.AuthorizationPolicySpec](o)
		if o.group != v1alpha1.PolicyGroup || o.namespace != route.namespace || s.TargetRef.Kind != route.kind ||
			s.TargetRef.Name != route.name.name {
			return
		}
		required := make([]string, 0, len(s.RequiredAuthenticationRefs))
		for _, ref := range s.RequiredAuthenticationRefs {
			required = append(required, fmt.Sprint(ref.Kind, " ", cmp.Or(ref.Namespace, o.namespace), "/", ref.Name))
		}
		slices.Sort(required)
		out = append(out, strings.Join(required, ", "))
	})
	return out
}
