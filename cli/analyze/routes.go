package analyze

import (
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// routeSpec is what the checks read of routes of every kind.
type routeSpec struct {
	ParentRefs []reference `json:"parentRefs"`
	Rules      []struct {
		Filters     []filter  `json:"filters"`
		BackendRefs []backend `json:"backendRefs"`
	} `json:"rules"`
}

type reference struct {
	Group     *string `json:"group"`
	Kind      string  `json:"kind"`
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Port      int     `json:"port"`
}

type backend struct {
	reference
	Filters []filter `json:"filters"`
}

type filter struct {
	Type string `json:"type"`
}

// serviceSpec is what the checks read of a Service.
type serviceSpec struct {
	ClusterIP string            `json:"clusterIP"`
	Type      string            `json:"type"`
	Selector  map[string]string `json:"selector"`
	Ports     []struct {
		Port int `json:"port"`
	} `json:"ports"`
}

// routeKinds are the kinds of routes, the one that wins over the next first.
var routeKinds = []string{"GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"}

// eachRoute calls fn for every route.
func (w *World) eachRoute(fn func(*object, routeSpec)) {
	for _, kind := range routeKinds {
		w.each(kind, func(o *object) { fn(o, spec[routeSpec](o)) })
	}
}

// isService reports whether a parent is a Service; a Gateway's routes are the gateway's.
func (r reference) isService() bool {
	return r.Kind == "Service" && (r.Group == nil || *r.Group == "" || *r.Group == "core")
}

func (r reference) in(namespace string) string {
	if r.Namespace != "" {
		return r.Namespace
	}
	return namespace
}

// checkRoutes looks at what routes of Services refer to.
func checkRoutes(w *World) {
	w.eachRoute(func(o *object, r routeSpec) {
		if !slices.ContainsFunc(r.ParentRefs, func(p reference) bool { return p.isService() || p.Kind == "Server" }) {
			return
		}
		for _, p := range r.ParentRefs {
			w.checkParent(o, p)
		}
		for i, rule := range r.Rules {
			w.checkFilters(o, fmt.Sprintf("spec.rules[%d].filters", i), rule.Filters)
			for j, b := range rule.BackendRefs {
				w.checkFilters(o, fmt.Sprintf("spec.rules[%d].backendRefs[%d].filters", i, j), b.Filters)
				w.checkBackend(o, fmt.Sprintf("spec.rules[%d].backendRefs[%d]", i, j), b, r.ParentRefs)
			}
		}
	})
}

func (w *World) checkParent(o *object, p reference) {
	namespace := p.in(o.namespace)
	switch {
	case p.Kind == "Server":
		if w.missing("Server", namespace, p.Name) {
			w.report(Error, "ParentMissing", o, "there is no Server %s in namespace %s", p.Name, namespace)
		}
		return
	case !p.isService():
		return
	case w.missing("Service", namespace, p.Name):
		w.report(Error, "ParentMissing", o, "there is no Service %s in namespace %s", p.Name, namespace)
		return
	case namespace != o.namespace:
		w.report(Info, "ConsumerRoute", o, "holds for clients of namespace %s only: its parent is in namespace %s", o.namespace, namespace)
	}
	svc := w.byName[name{"Service", namespace, p.Name}]
	if svc == nil {
		return
	}
	s := spec[serviceSpec](svc)
	switch {
	case s.ClusterIP == "None":
		w.report(Error, "ParentHeadless", o, "Service %s is headless: its clients connect to pods, which routes do not govern", p.Name)
	case p.Port != 0 && !s.has(p.Port):
		w.report(Error, "ParentPort", o, "Service %s has no port %d", p.Name, p.Port)
	}
}

func (s serviceSpec) has(port int) bool {
	for _, p := range s.Ports {
		if p.Port == port {
			return true
		}
	}
	return false
}

// checkFilters names what the mesh does not do.
func (w *World) checkFilters(o *object, path string, filters []filter) {
	known := []string{"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "RequestMirror", "CORS"}
	for i, f := range filters {
		if !slices.Contains(known, f.Type) {
			w.report(Error, "FilterUnsupported", o, "%s[%d]: filter %s is not supported: requests of the rule are answered with 500", path, i, f.Type)
		}
	}
}

func (w *World) checkBackend(o *object, path string, b backend, parents []reference) {
	if b.Kind != "" && b.Kind != "Service" {
		w.report(Error, "BackendKind", o, "%s: a backend is a Service, not a %s: its share is answered with 500", path, b.Kind)
		return
	}
	namespace := b.in(o.namespace)
	if w.missing("Service", namespace, b.Name) {
		w.report(Error, "BackendMissing", o, "%s: there is no Service %s in namespace %s: its share is answered with 500", path, b.Name, namespace)
		return
	}
	if svc := w.byName[name{"Service", namespace, b.Name}]; svc != nil && b.Port != 0 && !spec[serviceSpec](svc).has(b.Port) {
		w.report(Error, "BackendPort", o, "%s: Service %s has no port %d: its share is answered with 500", path, b.Name, b.Port)
	}
	parent := slices.ContainsFunc(parents, func(p reference) bool { return p.Name == b.Name && p.in(o.namespace) == namespace })
	if namespace != o.namespace && !parent && !w.granted(o, namespace, b.Name) && !w.Partial {
		w.report(Error, "BackendNotGranted", o, "%s: namespace %s has no ReferenceGrant for %ss of namespace %s: its share is answered with 500",
			path, namespace, o.kind, o.namespace)
	}
}

// granted reports whether a ReferenceGrant lets the route refer to a Service of another namespace.
func (w *World) granted(o *object, namespace, service string) bool {
	type grant struct {
		From []struct{ Group, Kind, Namespace string }
		To   []struct{ Group, Kind, Name string }
	}
	found := false
	w.each("ReferenceGrant", func(g *object) {
		s := spec[grant](g)
		from := slices.ContainsFunc(s.From, func(f struct{ Group, Kind, Namespace string }) bool {
			return f.Group == o.group && f.Kind == o.kind && f.Namespace == o.namespace
		})
		to := slices.ContainsFunc(s.To, func(t struct{ Group, Kind, Name string }) bool {
			return t.Group == "" && t.Kind == "Service" && (t.Name == "" || t.Name == service)
		})
		found = found || g.namespace == namespace && from && to
	})
	return found
}

// attachment is one parent Service of a route. Port 0 is every port.
type attachment struct {
	route              *object
	namespace, service string
	port               int
}

func (a attachment) meets(b attachment) bool {
	return a.namespace == b.namespace && a.service == b.service && (a.port == 0 || b.port == 0 || a.port == b.port)
}

// checkConflicts finds routes of which one makes the other have no effect.
func checkConflicts(w *World) {
	var attached []attachment // those of kinds that win first
	for _, kind := range routeKinds {
		w.each(kind, func(o *object) {
			for _, p := range spec[routeSpec](o).ParentRefs {
				if !p.isService() {
					continue
				}
				a := attachment{o, p.in(o.namespace), p.Name, p.Port}
				i := slices.IndexFunc(attached, func(b attachment) bool { return b.route.kind != kind && b.meets(a) })
				if i >= 0 {
					w.report(Error, "RouteConflict", o, "has no effect on Service %s where %s/%s has: of routes on one port, those of kind %s win",
						p.Name, attached[i].route.kind, attached[i].route.name.name, attached[i].route.kind)
				}
				attached = append(attached, a)
			}
		})
	}
	w.each("ServiceProfile", func(o *object) {
		service, namespace, ok := profileService(o.name.name)
		if !ok || len(spec[v1alpha1.ServiceProfileSpec](o).Routes) == 0 {
			return
		}
		for _, a := range attached {
			if a.namespace == namespace && a.service == service && (a.route.kind == "HTTPRoute" || a.route.kind == "GRPCRoute") {
				w.report(Warning, "ProfileOverridesRoutes", a.route, "has no effect where ServiceProfile %s of namespace %s has routes", o.name.name, o.namespace)
			}
		}
	})
}
