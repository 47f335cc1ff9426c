package proxy

import (
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// passage is how a connection that is not HTTP goes on: to a service, or nowhere for a reason.
type passage struct {
	plan    *plan
	course  *course  // the rule; nil if no route is there for the connection
	share   *share   // the rule's backend; nil for the endpoints of the Service itself
	service *service // nil if nothing takes the connection
	reason  string
}

// passage chooses the service that takes a connection which is not HTTP. The caller lets go of it when it has connected. closed counts how
// the connection ended, under the rule that it fell under.
func (o *outbound) passage(t *target, peek *detect.Conn) (way passage, closed func(reason string)) {
	for {
		p := t.plan.Load()
		way = o.streamRule(t, p, peek)
		if way.service == nil || t.keep(way.service) {
			return way, p.openStream(way.course)
		}
	}
}

// streamRule finds the rule and draws a service.
func (o *outbound) streamRule(t *target, p *plan, peek *detect.Conn) passage {
	own := passage{plan: p, service: t.own}
	if len(p.streams) == 0 {
		return own
	}
	name, isTLS := "", false
	if p.asksNames() {
		var err error
		if name, isTLS, err = o.serverName(peek); err != nil {
			return passage{plan: p, reason: errDetect}
		}
	}
	c := p.over(name)
	if c == nil {
		if isTLS {
			return passage{plan: p, reason: errNoRoute}
		}
		return own // the rules are for TLS
	}
	s := c.pick()
	switch {
	case s == nil:
		return passage{plan: p, course: c, reason: errNoBackend}
	case s.service == nil:
		return passage{plan: p, course: c, reason: errBadBackend}
	default:
		return passage{plan: p, course: c, share: s, service: s.service}
	}
}

// balancer returns what counts the connections to the service; nil where no Service was asked for.
func (w passage) balancer() *stats.Balancer {
	p := w.plan
	if p.service.IsZero() {
		return nil
	}
	return w.service.show(p.proxy, &w.service.tcp, func() stats.Labels {
		ref, service := mesh.Ref{Kind: "Service", Namespace: p.service.Namespace, Name: p.service.Name}, p.service
		if w.share != nil {
			ref, service = w.share.Ref, w.share.Service
		}
		return p.labels().Join(backendLabels(ref, service))
	})
}

// openStream counts a connection under the families outbound_{tcp,tls}_route_*, and closed its end.
func (p *plan) openStream(c *course) (closed func(reason string)) {
	if p.service.IsZero() {
		return func(string) {}
	}
	family, ref := "outbound_tcp_route_", mesh.Ref{Kind: "default", Name: "opaq"}
	if c != nil {
		ref = c.Ref
	}
	if ref.Kind == "TLSRoute" {
		family = "outbound_tls_route_"
	}
	labels := p.labels().Join(objectLabels("route", ref))
	p.proxy.stats.Inc(family+"open_total", labels)
	return func(reason string) { p.proxy.stats.Inc(family+"close_total", labels.With("error", reason)) }
}

// serverName returns the server name that a connection asks for; "" if it asks for none.
func (o *outbound) serverName(peek *detect.Conn) (name string, isTLS bool, err error) {
	kind, err := peek.Sniff(o.proxy.times.outboundDetect)
	if kind != detect.TLS || err != nil {
		return "", false, err
	}
	hello, _, err := peek.SniffHello(o.proxy.times.outboundDetect)
	return hello.ServerName, true, err
}

// asksNames reports whether any rule for connections asks for a server name.
func (p *plan) asksNames() bool {
	for _, s := range p.streams {
		if len(s.hostnames) > 0 {
			return true
		}
	}
	return false
}

// over returns the rule for a connection that asks for that server name, "" for none; nil if no rule is. A rule with the name itself
// comes before one with a pattern, the longer pattern before the shorter, and either before one for every connection. Source: Gateway
// API, TLSRouteSpec.hostnames.
func (p *plan) over(serverName string) (best *course) {
	most := -1
	for _, s := range p.streams {
		if n := specificity(s.hostnames, serverName); n > most {
			best, most = s.course, n
		}
	}
	return best
}

// exactName is more than any pattern has: names are shorter than 256 bytes.
const exactName = 1 << 10

// specificity says how well a rule with these server names fits the one that is asked for: -1 if it does not, 0 for a rule without names.
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
