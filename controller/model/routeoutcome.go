package model

import (
	"fmt"
	"reflect"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// route derives the outcome of a route at each parent that this control plane handles.
func (b *outcomeBuilder) route(r *route) Outcome {
	out := Outcome{Object: r.ref(), Generation: r.generation}
	for i := range r.latest.Parents {
		p := &r.latest.Parents[i]
		var result Result
		switch p.Kind {
		case compile.ParentService:
			result = b.serviceResult(r, p)
			b.addUnresolved(&result, r, p)
		case compile.ParentServer:
			result = b.serverResult(r, p)
		case compile.ParentEgress:
			result.reject(reasonUnsupported, "EgressNetwork is not supported")
			b.addUnresolved(&result, r, p)
		default:
			continue
		}
		out.Parents = append(out.Parents, ParentOutcome{Ref: p.Raw, Result: result})
	}
	return out
}

// activeAt returns the routes of one namespace that are active at a port.
func (b *outcomeBuilder) activeAt(svc *compile.Service, port compile.ServicePort, namespace string) []*route {
	key := scope{svc.NamespacedName, port.Port, namespace}
	list, ok := b.active[key]
	if !ok {
		list = b.store.attached(svc, port, namespace)
		b.active[key] = list
	}
	return list
}

// serviceResult derives whether r is active at the Service, and what of it has no effect there.
func (b *outcomeBuilder) serviceResult(r *route, p *compile.ParentRef) (out Result) {
	defer func() { out.Findings = append(out.Findings, r.latest.Findings.Of(compile.Ignored)...) }()
	svc := b.store.services[p.NamespacedName]
	if problem := parentProblem(p, svc); problem != "" {
		out.reject(reasonNoParent, "%s", problem)
		return out
	}
	if r.latest.HasMistakes() {
		r.rejectMistakes(&out)
		return out
	}
	if !r.routeKind.IsOpaque() {
		if profile := b.store.profileFor(svc, r.Namespace); profile != nil && profile.active.ReplacesRoutes() {
			out.reject(ReasonRouteConflicted, "ServiceProfile %s in namespace %s replaces routes", profile.Name,
				profile.Namespace)
			return out
		}
	}
	won, conflict := 0, ""
	for _, port := range svc.Ports {
		if !p.Includes(port) {
			continue
		}
		active := b.activeAt(svc, port, r.Namespace)
		if slices.Contains(active, r) {
			won++
			continue
		}
		conflict = supersededByRoute(r, port, active)
	}
	switch {
	case conflict != "" && won == 0:
		out.reject(ReasonRouteConflicted, "%s", conflict)
	case conflict != "":
		out.ignore(ReasonRouteConflicted, "", conflict)
	}
	return out
}

// serverResult derives whether r is active at the Server. Its requests have arrived already: there are no references to
// look up.
func (b *outcomeBuilder) serverResult(r *route, p *compile.ParentRef) (out Result) {
	switch sv := b.store.access.servers[p.NamespacedName]; {
	case r.routeKind.IsOpaque():
		out.reject(reasonNoParent, "a %s cannot be attached to a Server", r.kind)
	case p.Namespace != r.Namespace:
		out.reject(reasonNoParent, "a route can only be attached to Servers of its own namespace")
	case sv == nil:
		out.reject(reasonNoParent, "there is no Server %s in namespace %s", p.Name, p.Namespace)
	case r.latest.HasMistakes():
		r.rejectMistakes(&out)
		out.Effect = compile.Join(out.Effect, r.closedMatches())
	case sv.spec.Protocol == mesh.Opaque:
		out.reject(string(gatewayv1.RouteReasonUnsupportedProtocol),
			"Server %s is opaque, so its requests cannot be matched: "+
				"all its connections are refused while it has a route", p.Name)
	case !b.store.activeAtServer(r.meshRef(), p.NamespacedName):
		out.reject(ReasonRouteConflicted, "older routes use the maximum of %d rules at the Server", maxPortRules)
	}
	if p.Port != 0 || p.Section != "" {
		out.ignore(reasonUnsupported, "parentRefs", "port and sectionName have no effect, because a Server has one port")
	}
	if !out.Findings.Has(compile.Invalid) || r.latest.HasMistakes() {
		ignoreAtServer(&out, r.latest)
	}
	out.Findings = append(out.Findings, r.latest.Findings.Of(compile.Ignored)...)
	return out
}

// ignoreAtServer adds what of the rules has no effect on requests that have arrived.
func ignoreAtServer(out *Result, spec *compile.Route) {
	for i := range spec.Rules {
		path := compile.ElementPath("spec", "rules", i)
		if len(spec.Rules[i].Backends) > 0 {
			out.ignore(reasonUnsupported, path+".backendRefs", "has no effect: requests to a Server go to its own pods")
		}
		if slices.ContainsFunc(spec.Rules[i].Filters, func(f mesh.Filter) bool { return f.Mirror != nil }) {
			out.ignore(reasonUnsupported, path+".filters",
				"mirrors have no effect at a Server: the client's proxy mirrors requests")
		}
		if spec.Bounds[i] != (compile.RuleBounds{}) {
			out.ignore(reasonUnsupported, path, "timeouts and retries have no effect at a Server: they are for routes of a "+
				"Service")
		}
	}
}

// supersededByRoute says which of the active routes takes the place of r at the port.
func supersededByRoute(r *route, port compile.ServicePort, active []*route) string {
	first := active[0]
	if first.routeKind.Rank() < r.routeKind.Rank() {
		return fmt.Sprintf("%s %s in namespace %s takes precedence over %ss at port %d", first.kind, first.Name,
			first.Namespace, r.kind, port.Port)
	}
	if r.routeKind == compile.KindTCPRoute {
		return fmt.Sprintf("the older TCPRoute %s in namespace %s is active at port %d", first.Name, first.Namespace,
			port.Port)
	}
	return fmt.Sprintf("older routes use the maximum of %d rules at port %d", maxPortRules, port.Port)
}

// rejectMistakes adds what is wrong with the object, and what applies instead.
func (r *route) rejectMistakes(out *Result) {
	out.Findings = append(out.Findings, r.latest.Findings.Of(compile.Invalid)...)
	if r.active != r.latest {
		out.Effect = activeGeneration(r.active.Generation)
		return
	}
	out.Effect = "requests that match invalid rules get 500"
	if r.routeKind.IsOpaque() {
		out.Effect = "connections that match invalid rules are refused"
	}
	if slices.ContainsFunc(r.latest.Rules, func(rule mesh.Rule) bool { return rule.Invalid == "" }) {
		out.ignore(reasonUnsupported, "", "rules without mistakes are active")
	}
}

// closedMatches says which requests to a Server get an error because matches of r could not be parsed.
func (r *route) closedMatches() string {
	var some, all []string
	for i := range r.active.Rules {
		path := compile.ElementPath("spec", "rules", i)
		for k, m := range r.active.Rules[i].Matches {
			switch {
			case !m.Widened:
			case reflect.DeepEqual(m, compile.AnyMatch()[0]):
				all = append(all, compile.ElementPath(path, "matches", k))
			default:
				some = append(some, compile.ElementPath(path, "matches", k))
			}
		}
	}
	if r.active.Truncated > 0 {
		all = append(all, fmt.Sprintf("spec.rules beyond %d", compile.MaxRules))
	}
	switch {
	case len(all) > 0:
		return "every request to the Server gets 500, because it may match what could not be parsed: " + compile.List(all)
	case len(some) > 0:
		return "requests to the Server that match the valid part of these get 500, too: " + compile.List(some)
	default:
		return ""
	}
}

// addUnresolved adds which of r's references lead nowhere.
func (b *outcomeBuilder) addUnresolved(out *Result, r *route, p *compile.ParentRef) {
	out.HasReferences = true
	add := func(path string, to mesh.ServiceRef) {
		reason, message := b.store.lookup(r, p.NamespacedName, to)
		f := compile.Finding{Path: path, Message: message, Severity: compile.Unresolved, Reason: string(reason)}
		if message != "" && !slices.Contains(out.Findings, f) {
			out.Findings = append(out.Findings, f)
		}
	}
	mirrors := func(path string, filters []mesh.Filter) {
		for i := range filters {
			if m := filters[i].Mirror; m != nil && m.Backend.Invalid == "" {
				add(path+".filters", m.Backend.Service)
			}
		}
	}
	out.Findings = append(out.Findings, r.latest.Findings.Of(compile.Unresolved)...)
	for i := range r.latest.Rules {
		path := compile.ElementPath("spec", "rules", i)
		mirrors(path, r.latest.Rules[i].Filters)
		for k := range r.latest.Rules[i].Backends {
			backend, at := &r.latest.Rules[i].Backends[k], compile.ElementPath(path, "backendRefs", k)
			mirrors(at, backend.Filters)
			if backend.Invalid == "" {
				add(at, backend.Service)
			}
		}
	}
}

// parentProblem returns why the Service cannot be a parent; "" if it can.
func parentProblem(p *compile.ParentRef, svc *compile.Service) string {
	switch {
	case svc == nil:
		return fmt.Sprintf("there is no Service %s in namespace %s", p.Name, p.Namespace)
	case len(svc.ClusterIPs) == 0:
		return "parent service must have a ClusterIP"
	case p.Port == 0 && p.Section == "":
		return ""
	}
	for _, port := range svc.Ports {
		if p.Includes(port) {
			return ""
		}
	}
	if p.Section == "" {
		return fmt.Sprintf("Service %s has no TCP port %d", p.Name, p.Port)
	}
	if p.Port == 0 {
		return fmt.Sprintf("Service %s has no TCP port that is named %s", p.Name, p.Section)
	}
	return fmt.Sprintf("Service %s has no TCP port %d that is named %s", p.Name, p.Port, p.Section)
}
