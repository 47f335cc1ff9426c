package outbound

import (
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// opaqueRoute is where an opaque connection goes: to a service, or nowhere for a reason.
type opaqueRoute struct {
	routing *routing
	rule    *boundRule // nil if no route is for the connection
	backend *backend   // the rule's; nil for the endpoints of the Service itself
	service *service   // nil if nothing takes the connection
	reason  string
}

// routeOpaque chooses the service that takes an opaque connection. The caller releases it when it has connected.
// countEnd counts how the connection ended, under the rule that it matched.
func (o *Outbound) routeOpaque(t *target, peek *detect.Conn) (route opaqueRoute, countEnd func(reason string)) {
	for {
		rt := t.routing.Load()
		route = o.matchOpaque(t, rt, peek)
		if route.service == nil || t.acquireService(route.service) {
			return route, rt.countOpaque(route.rule)
		}
	}
}

// matchOpaque finds the rule, and one of its backends by weight.
func (o *Outbound) matchOpaque(t *target, rt *routing, peek *detect.Conn) opaqueRoute {
	own := opaqueRoute{routing: rt, service: t.ownService}
	if len(rt.opaque) == 0 {
		return own
	}
	name, isTLS := "", false
	if rt.needsSNI() {
		var err error
		if name, isTLS, err = o.serverName(peek); err != nil {
			return opaqueRoute{routing: rt, reason: stats.ErrorDetect}
		}
	}
	rule := rt.matchSNI(name)
	if rule == nil {
		if isTLS {
			return opaqueRoute{routing: rt, reason: errorNoRoute}
		}
		return own // the rules are for TLS
	}
	be := rule.pick()
	switch {
	case be == nil:
		return opaqueRoute{routing: rt, rule: rule, reason: errorNoBackend}
	case be.service == nil:
		return opaqueRoute{routing: rt, rule: rule, reason: errorBadBackend}
	default:
		return opaqueRoute{routing: rt, rule: rule, backend: be, service: be.service}
	}
}

// metrics returns what counts the connections to the service; nil if the target is not a Service.
func (route opaqueRoute) metrics() *stats.Balancer {
	rt := route.routing
	if rt.service.IsZero() {
		return nil
	}
	return route.service.metrics(&route.service.tcp, rt.service, func() stats.Labels {
		ref, service := mesh.Ref{Kind: "Service", Namespace: rt.service.Namespace, Name: rt.service.Name}, rt.service
		if route.backend != nil {
			ref, service = route.backend.Ref, route.backend.Service
		}
		return rt.labels().Join(stats.BackendLabels(ref, service))
	})
}

// countOpaque counts a connection in the metrics outbound_{tcp,tls}_route_*; countEnd counts its end.
func (rt *routing) countOpaque(rule *boundRule) (countEnd func(reason string)) {
	if rt.service.IsZero() {
		return func(string) {}
	}
	family, ref := "outbound_tcp_route_", mesh.Ref{Kind: "default", Name: "opaq"}
	if rule != nil {
		ref = rule.Ref
	}
	if ref.Kind == "TLSRoute" {
		family = "outbound_tls_route_"
	}
	labels := rt.labels().Join(stats.ObjectLabels("route", ref))
	rt.env.Stats.Inc(family+"open_total", labels)
	return func(reason string) { rt.env.Stats.Inc(family+"close_total", labels.With("error", reason)) }
}

// serverName returns the server name that a connection asks for; "" if it asks for none.
func (o *Outbound) serverName(peek *detect.Conn) (name string, isTLS bool, err error) {
	kind, err := peek.Sniff(o.env.Times.OutboundDetect)
	if kind != detect.TLS || err != nil {
		return "", false, err
	}
	hello, _, err := peek.SniffHello(o.env.Times.OutboundDetect)
	return hello.ServerName, true, err
}

// needsSNI reports whether any rule for connections has a server name.
func (rt *routing) needsSNI() bool {
	for _, b := range rt.opaque {
		if len(b.hostnames) > 0 {
			return true
		}
	}
	return false
}

// matchSNI returns the rule for a connection that asks for that server name, "" for none; nil if no rule matches. An
// exact name comes before a pattern, a longer pattern before a shorter one, and either before a rule without names.
// Source: Gateway API, TLSRouteSpec.hostnames.
func (rt *routing) matchSNI(serverName string) (best *boundRule) {
	most := -1
	for _, b := range rt.opaque {
		if n := specificity(b.hostnames, serverName); n > most {
			best, most = b.boundRule, n
		}
	}
	return best
}

// exactName is more than any pattern has: names are shorter than 256 bytes.
const exactName = 1 << 10

// specificity says how well a rule with these server names fits the one that is asked for: -1 if it does not, 0 for a
// rule without names.
func specificity(hostnames []string, serverName string) int {
	if len(hostnames) == 0 {
		return 0
	}
	best := -1
	name := strings.ToLower(strings.TrimSuffix(serverName, "."))
	for _, h := range hostnames {
		suffix, wild := strings.CutPrefix(strings.ToLower(h), "*")
		switch {
		case name == "":
		case !wild && name == suffix:
			return exactName
		case wild && strings.HasPrefix(suffix, ".") && len(name) > len(suffix) && strings.HasSuffix(name, suffix):
			best = max(best, len(suffix))
		}
	}
	return best
}
