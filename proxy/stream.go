package proxy

import (
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/detect"
)

// streamService chooses the service that takes a connection which is not HTTP; nil with the reason if none does. The caller lets go of it
// when it has connected. closed counts how the connection ended, under the rule that it fell under.
func (o *outbound) streamService(t *target, peek *detect.Conn) (svc *service, reason string, closed func(reason string)) {
	for {
		p := t.plan.Load()
		c, svc, reason := o.streamRule(t, p, peek)
		if svc == nil || t.keep(svc) {
			return svc, reason, p.openStream(c)
		}
	}
}

// streamRule finds the rule and draws a service; the rule is nil if no route is there for the connection.
func (o *outbound) streamRule(t *target, p *plan, peek *detect.Conn) (c *course, svc *service, reason string) {
	if len(p.streams) == 0 {
		return nil, t.own, ""
	}
	name, isTLS := "", false
	if p.asksNames() {
		var err error
		if name, isTLS, err = o.serverName(peek); err != nil {
			return nil, nil, errDetect
		}
	}
	if c = p.over(name); c == nil {
		if isTLS {
			return nil, nil, errNoRoute
		}
		return nil, t.own, "" // the rules are for TLS
	}
	s := c.pick()
	switch {
	case s == nil:
		return c, nil, errNoBackend
	case s.service == nil:
		return c, nil, errBadBackend
	default:
		return c, s.service, ""
	}
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
	p.proxy.stats.Counter(family+"open_total", labels).Inc()
	return func(reason string) { p.proxy.stats.Counter(family+"close_total", labels.With("error", reason)).Inc() }
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
