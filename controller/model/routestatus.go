package model

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// routeConflicted is Linkerd's, for a route that gives way to others.
const routeConflicted gatewayv1.RouteConditionReason = "RouteReasonConflicted"

// scope is a port of a Service and a namespace of clients.
type scope struct {
	service   types.NamespacedName
	port      uint16
	namespace string
}

// judge derives statuses. It remembers which routes hold where, which is the same for every route of a parent.
type judge struct {
	store *Store
	holds map[scope][]*route
}

func newJudge(s *Store) *judge { return &judge{store: s, holds: map[scope][]*route{}} }

// verdict is one condition before it has a type.
type verdict struct {
	reason  gatewayv1.RouteConditionReason
	message string
}

func (j *judge) attached(svc *compile.Service, port compile.ServicePort, namespace string) []*route {
	key := scope{svc.NamespacedName, port.Port, namespace}
	list, ok := j.holds[key]
	if !ok {
		list = j.store.attached(svc, port, namespace)
		j.holds[key] = list
	}
	return list
}

// route derives the status of a route: for each of its parents that is ours whether the route holds there, whether its references lead
// anywhere, and what of it has no effect.
func (j *judge) route(r *route) Status {
	out := Status{Object: r.ref(), Generation: r.generation}
	for i := range r.latest.Parents {
		p := &r.latest.Parents[i]
		var refused, partial verdict
		switch p.Kind {
		case compile.ParentService:
			refused, partial = j.atService(r, p)
		case compile.ParentServer:
			out.Parents = append(out.Parents, ParentStatus{Ref: p.Raw, Conditions: j.atServer(r, p)})
			continue
		case compile.ParentEgress:
			refused = verdict{gatewayv1.RouteReasonUnsupportedValue, "EgressNetwork is not supported"}
		default:
			continue
		}
		conditions := []metav1.Condition{accepted(r, refused), resolvedRefs(r, j.unresolved(r, p))}
		if partial.message != "" {
			conditions = append(conditions, condition(r.generation, gatewayv1.RouteConditionPartiallyInvalid, true, partial.reason, partial.message))
		}
		out.Parents = append(out.Parents, ParentStatus{Ref: p.Raw, Conditions: conditions})
	}
	return out
}

// atService says why r does not hold at the Service, and what of it has no effect there; zero verdicts if it does, and nothing.
func (j *judge) atService(r *route, p *compile.ParentRef) (refused, partial verdict) {
	partial = partialOf(r.latest.Findings)
	svc := j.store.services[p.NamespacedName]
	if problem := parentProblem(p, svc); problem != "" {
		return verdict{gatewayv1.RouteReasonNoMatchingParent, problem}, partial
	}
	if r.latest.HasMistakes() {
		return r.mistakes(), r.whatServes(partial)
	}
	if !r.routeKind.IsStream() {
		if profile := j.store.profileFor(svc, r.Namespace); profile != nil && profile.accepted.ReplacesRoutes() {
			return verdict{routeConflicted, fmt.Sprintf("ServiceProfile %s in namespace %s stands in the place of routes", profile.Name,
				profile.Namespace)}, partial
		}
	}
	won, lost := 0, ""
	for _, port := range svc.Ports {
		if !p.Includes(port) {
			continue
		}
		holds := j.attached(svc, port, r.Namespace)
		if slices.Contains(holds, r) {
			won++
			continue
		}
		lost = givesWay(r, port, holds)
	}
	switch {
	case lost != "" && won == 0:
		return verdict{routeConflicted, lost}, partial
	case lost != "":
		return verdict{}, verdict{routeConflicted, joined(lost, partial.message)}
	}
	return verdict{}, partial
}

// atServer derives the conditions at a Server, which has the requests already: there are no references to look up.
func (j *judge) atServer(r *route, p *compile.ParentRef) []metav1.Condition {
	refused, partial := verdict{}, partialOf(r.latest.Findings)
	switch {
	case r.routeKind.IsStream():
		refused = verdict{gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf("a %s cannot be attached to a Server", r.kind)}
	case p.Namespace != r.Namespace:
		refused = verdict{gatewayv1.RouteReasonNoMatchingParent, "a route is attached to Servers of its own namespace only"}
	case j.store.access.servers[p.NamespacedName] == nil:
		refused = verdict{gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf("there is no Server %s in namespace %s", p.Name, p.Namespace)}
	case r.latest.HasMistakes():
		refused, partial = r.mistakes(), r.whatServes(partial)
		refused.message = joined(refused.message, r.closes())
	case j.store.access.servers[p.NamespacedName].spec.Protocol == mesh.Opaque:
		refused = verdict{gatewayv1.RouteReasonUnsupportedProtocol, fmt.Sprintf(
			"Server %s carries connections as they are: none of their requests can be held to a route, so they are all refused", p.Name)}
	case !j.store.activeAtServer(r.meshRef(), p.NamespacedName):
		refused = verdict{routeConflicted, fmt.Sprintf("older routes have as many rules at the Server as there may be, %d", maxPortRules)}
	}
	if p.Port != 0 || p.Section != "" {
		partial = verdict{gatewayv1.RouteReasonUnsupportedValue, joined("parentRefs: a Server has one port: port and sectionName have no effect",
			partial.message)}
	}
	if at := ignoredAtServer(r.latest); len(at) > 0 && (refused.message == "" || r.latest.HasMistakes()) {
		partial = verdict{gatewayv1.RouteReasonUnsupportedValue, joined(list(at), partial.message)}
	}
	out := []metav1.Condition{accepted(r, refused)}
	if partial.message != "" {
		out = append(out, condition(r.generation, gatewayv1.RouteConditionPartiallyInvalid, true, partial.reason, partial.message))
	}
	return out
}

// ignoredAtServer returns what of the rules has no effect on requests that have arrived.
func ignoredAtServer(sp *compile.Route) []string {
	var out []string
	for i := range sp.Rules {
		path := compile.ElementPath("spec", "rules", i)
		if len(sp.Rules[i].Backends) > 0 {
			out = append(out, path+".backendRefs: a Server's requests go to its own pods; this has no effect")
		}
		if slices.ContainsFunc(sp.Rules[i].Filters, func(f mesh.Filter) bool { return f.Mirror != nil }) {
			out = append(out, path+".filters: requests are mirrored by their clients' proxies; at a Server this has no effect")
		}
		if sp.Bounds[i] != (compile.RuleBounds{}) {
			out = append(out, path+": timeouts and retries are for routes of a Service; at a Server they have no effect")
		}
	}
	return out
}

// givesWay says to what r gives way at the port, where others hold.
func givesWay(r *route, port compile.ServicePort, holds []*route) string {
	first := holds[0]
	if first.routeKind.Rank() < r.routeKind.Rank() {
		return fmt.Sprintf("%s %s in namespace %s holds at port %d: %ss give way to it", first.kind, first.Name, first.Namespace,
			port.Port, r.kind)
	}
	if r.routeKind == compile.KindTCPRoute {
		return fmt.Sprintf("TCPRoute %s in namespace %s holds at port %d, being older", first.Name, first.Namespace, port.Port)
	}
	return fmt.Sprintf("older routes have %d rules at port %d already, which is as many as there may be", maxPortRules, port.Port)
}

// mistakes says what is wrong with the object and what that means.
func (r *route) mistakes() verdict {
	var out verdict
	var texts []string
	for _, f := range r.latest.Findings {
		if f.Severity != compile.Invalid {
			continue
		}
		if out.reason == "" {
			out.reason = gatewayv1.RouteConditionReason(f.Reason)
		}
		texts = append(texts, f.String())
	}
	then := "what has a mistake is answered with an error"
	if r.accepted != r.latest {
		then = fmt.Sprintf("generation %d keeps serving", r.accepted.Generation)
	}
	out.message = joined(list(texts), then)
	return out
}

// closes says which requests to a Server fall under no other route because matches of r could not be read.
func (r *route) closes() string {
	var some, all []string
	for i := range r.accepted.Rules {
		path := compile.ElementPath("spec", "rules", i)
		for k, m := range r.accepted.Rules[i].Matches {
			switch {
			case !m.Widened:
			case reflect.DeepEqual(m, compile.AnyMatch()[0]):
				all = append(all, compile.ElementPath(path, "matches", k))
			default:
				some = append(some, compile.ElementPath(path, "matches", k))
			}
		}
	}
	if r.accepted.Truncated > 0 {
		all = append(all, fmt.Sprintf("spec.rules beyond %d", compile.MaxRules))
	}
	switch {
	case len(all) > 0:
		return "so is every request to the Server, as any may be meant by " + list(all)
	case len(some) > 0:
		return "so is every request to the Server that the rest of it matches: " + list(some)
	default:
		return ""
	}
}

// whatServes adds to what has no effect that the rules without mistakes are served, unless an earlier generation is.
func (r *route) whatServes(partial verdict) verdict {
	fine := func(rule mesh.Rule) bool { return rule.Invalid == "" }
	if r.accepted != r.latest || !slices.ContainsFunc(r.latest.Rules, fine) {
		return partial
	}
	return verdict{gatewayv1.RouteReasonUnsupportedValue, joined(partial.message, "what has no mistake is served")}
}

// partialOf returns what of the object has no effect.
func partialOf(findings compile.Findings) verdict {
	var texts []string
	for _, f := range findings {
		if f.Severity == compile.Ignored {
			texts = append(texts, f.String())
		}
	}
	if len(texts) == 0 {
		return verdict{}
	}
	return verdict{gatewayv1.RouteReasonUnsupportedValue, list(texts)}
}

// unresolved says which of r's references lead nowhere.
func (j *judge) unresolved(r *route, p *compile.ParentRef) verdict {
	var out verdict
	var texts []string
	add := func(reason gatewayv1.RouteConditionReason, text string) {
		if out.reason == "" {
			out.reason = reason
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	for _, f := range r.latest.Findings {
		if f.Severity == compile.Unresolved {
			add(gatewayv1.RouteConditionReason(f.Reason), f.String())
		}
	}
	mirrors := func(path string, filters []mesh.Filter) {
		for i := range filters {
			if m := filters[i].Mirror; m != nil && m.Backend.Invalid == "" {
				if reason, message := j.store.lookup(r, p.NamespacedName, m.Backend.Service); message != "" {
					add(reason, path+".filters: "+message)
				}
			}
		}
	}
	for i := range r.latest.Rules {
		path := compile.ElementPath("spec", "rules", i)
		mirrors(path, r.latest.Rules[i].Filters)
		for k := range r.latest.Rules[i].Backends {
			b := &r.latest.Rules[i].Backends[k]
			mirrors(compile.ElementPath(path, "backendRefs", k), b.Filters)
			if b.Invalid != "" {
				continue
			}
			if reason, message := j.store.lookup(r, p.NamespacedName, b.Service); message != "" {
				add(reason, compile.ElementPath(path, "backendRefs", k)+": "+message)
			}
		}
	}
	out.message = list(texts)
	return out
}

func accepted(r *route, refused verdict) metav1.Condition {
	if refused.message != "" {
		return condition(r.generation, gatewayv1.RouteConditionAccepted, false, refused.reason, refused.message)
	}
	message := ""
	if len(r.latest.Hostnames) > 0 && !r.routeKind.IsStream() {
		message = "hostnames have no effect: a Service is meant by its address"
	}
	return condition(r.generation, gatewayv1.RouteConditionAccepted, true, gatewayv1.RouteReasonAccepted, message)
}

func resolvedRefs(r *route, v verdict) metav1.Condition {
	if v.message != "" {
		return condition(r.generation, gatewayv1.RouteConditionResolvedRefs, false, v.reason, v.message)
	}
	return condition(r.generation, gatewayv1.RouteConditionResolvedRefs, true, gatewayv1.RouteReasonResolvedRefs, "")
}

func condition(generation int64, kind gatewayv1.RouteConditionType, holds bool, reason gatewayv1.RouteConditionReason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: string(kind), Status: status, ObservedGeneration: generation, Reason: string(reason), Message: message}
}

// maxListed is how many mistakes one message names; whoever mends them sees the others then.
const maxListed = 8

// list joins what people are told.
func list(texts []string) string {
	if more := len(texts) - maxListed; more > 0 {
		texts = append(slices.Clone(texts[:maxListed]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

func joined(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "; ")
}
