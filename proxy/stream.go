package proxy

import (
	"strings"

	"github.com/tulle-mesh/tulle/proxy/detect"
)

// streamService chooses the service that takes a connection which is not HTTP; nil with the reason if none does. The caller lets go of it
// when it has connected.
func (o *outbound) streamService(t *target, peek *detect.Conn) (svc *service, reason string) {
	for {
		if svc, reason = o.streamShare(t, peek); svc == nil || t.keep(svc) {
			return svc, reason
		}
	}
}

func (o *outbound) streamShare(t *target, peek *detect.Conn) (svc *service, reason string) {
	p := t.plan.Load()
	if len(p.streams) == 0 {
		return t.own, ""
	}
	name, isTLS := "", false
	if p.asksNames() {
		var err error
		if name, isTLS, err = o.serverName(peek); err != nil {
			return nil, errDetect
		}
	}
	c := p.over(name)
	if c == nil {
		if isTLS {
			return nil, errNoRoute
		}
		return t.own, "" // the rules are for TLS
	}
	s := c.pick()
	switch {
	case s == nil:
		return nil, errNoBackend
	case s.service == nil:
		return nil, errBadBackend
	default:
		return s.service, ""
	}
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
