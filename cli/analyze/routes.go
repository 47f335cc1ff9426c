package analyze

import (
	"slices"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// routeSpec is what the checks read of routes of every kind.
type routeSpec struct {
	ParentRefs []reference `json:"parentRefs"`
	Rules      []struct {
		Filters []filter `json:"filters"`
	} `json:"rules"`
}

type reference struct {
	Group       *string `json:"group"`
	Kind        string  `json:"kind"`
	Namespace   string  `json:"namespace"`
	Name        string  `json:"name"`
	Port        int     `json:"port"`
	SectionName string  `json:"sectionName"`
}

type filter struct {
	Type string `json:"type"`
}

// serviceSpec is what the checks read of a Service.
type serviceSpec struct {
	ClusterIP string            `json:"clusterIP"`
	Type      string            `json:"type"`
	Selector  map[string]string `json:"selector"`
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

// checkConsumers finds routes that apply to the clients of one namespace only, and profiles that replace routes for
// some clients.
func checkConsumers(w *World) {
	w.eachRoute(func(o *object, r routeSpec) {
		for _, p := range r.ParentRefs {
			if p.isService() && p.in(o.namespace) != o.namespace && !w.missing("Service", p.in(o.namespace), p.Name) {
				w.report(Info, "ConsumerRoute", o, "applies to clients of namespace %s only: its parent is in namespace %s",
					o.namespace, p.in(o.namespace))
			}
		}
	})
	w.each("ServiceProfile", func(o *object) {
		service, namespace, ok := profileService(o.name.name)
		if !ok || o.namespace == namespace || len(spec[v1alpha1.ServiceProfileSpec](o).Routes) == 0 {
			return // a profile of the Service's own namespace is in the routes' status
		}
		w.eachRoute(func(route *object, r routeSpec) {
			replaces := route.namespace == namespace && (route.kind == "HTTPRoute" || route.kind == "GRPCRoute") &&
				slices.ContainsFunc(r.ParentRefs, func(p reference) bool {
					return p.isService() && p.Name == service && p.in(route.namespace) == namespace
				})
			if replaces {
				w.report(Warning, "ProfileOverridesRoutes", route,
					"has no effect for clients of namespace %s: its ServiceProfile %s has routes",
					o.namespace, o.name.name)
			}
		})
	})
}
