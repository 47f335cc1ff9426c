package inbound

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// cachedDecision is what the requests of one connection to one part of a port share: the decision of policy, and where
// they are counted. Finding it is all that a request costs.
type cachedDecision struct {
	part authz.Part
	authz.Decision
	server  mesh.Ref
	limiter *limit.Limiter // nil where nothing is limited
	http    *stats.HTTP
	served  *stats.InboundRoute // what is let in; nil where nothing is
	named   *stats.HTTP         // the same under the name of the route, if it has one
	release []func()
	// decided counts the decision: allowed, denied, or for no route.
	decided *stats.Counter
	limited map[limit.Scope]*stats.Counter // made at the first request that is too many
	// inFlight counts the requests that are not over.
	inFlight atomic.Int32
}

// decisionCache holds the decisions of a connection. The handler alone changes it, one request at a time; others may
// look at it.
type decisionCache struct {
	port *authz.Port // that current is about

	mu      sync.Mutex // held to change the fields below, and to look at them from outside of the handler
	current []*cachedDecision
	former  []*cachedDecision // of earlier policies, with requests that are not over
}

// find returns the decision on a part of the port; nil if there is none yet.
func (c *decisionCache) find(port *authz.Port, part authz.Part) *cachedDecision {
	if c.port != port {
		c.rotate(port)
	}
	for _, d := range c.current {
		if d.part == part {
			return d
		}
	}
	return nil
}

func (c *decisionCache) add(d *cachedDecision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = append(c.current, d)
}

// rotate begins the decisions of another policy and closes those that nobody needs.
func (c *decisionCache) rotate(port *authz.Port) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var former []*cachedDecision
	for _, d := range append(c.former, c.current...) {
		if d.inFlight.Load() > 0 {
			former = append(former, d)
		} else {
			d.close()
		}
	}
	c.port, c.current, c.former = port, nil, former
}

// close ends the decisions at the end of the connection.
func (c *decisionCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range append(c.former, c.current...) {
		d.close()
	}
	c.current, c.former = nil, nil
}

// close releases the counters.
func (d *cachedDecision) close() {
	for _, release := range d.release {
		release()
	}
}

// revoked returns the decision on a request in flight that port no longer allows this peer.
func (c *decisionCache) revoked(port *authz.Port, peer authz.Peer) (v authz.Decision, revoked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [...][]*cachedDecision{c.former, c.current} {
		for _, d := range list {
			if d.inFlight.Load() == 0 || !d.Allow {
				continue
			}
			if v := port.Recheck(peer, d.Decision); !v.Allow {
				return v, true
			}
		}
	}
	return authz.Decision{}, false
}

// decide returns the decision on a connection's requests for a part of its port.
func (in *Inbound) decide(c *peerConn, port *authz.Port, part authz.Part) *cachedDecision {
	if d := c.decisions.find(port, part); d != nil {
		return d
	}
	v := port.DecidePart(c.peer, part)
	labels := c.labels(port).WithRoute(v.Route)
	d := &cachedDecision{part: part, Decision: v, server: port.Server()}
	counted := labels.WithAuthz(v.Authorization)
	var release func()
	d.http, release = in.env.Stats.HTTP(counted)
	d.release = append(d.release, release)
	if v.Allow {
		in.countServed(c, d)
	}
	d.decided, release = in.decidedCounter(v, labels)
	d.release = append(d.release, release)
	if l := port.RateLimit(); l != nil && v.Allow && part != authz.Probe {
		d.limiter = in.limiters.get(l)
	}
	c.decisions.add(d)
	return d
}

// decidedCounter returns what counts requests with a decision.
func (in *Inbound) decidedCounter(v authz.Decision, labels stats.Labels) (c *stats.Counter, release func()) {
	switch {
	case v.Allow:
		return in.env.Stats.Counter(stats.InboundHTTPAllow, labels.WithAuthz(v.Authorization))
	case v.Reason == authz.NoRoute:
		return in.env.Stats.Counter(stats.InboundHTTPNoRoute, labels)
	case v.Reason == authz.AmbiguousPath, v.Reason == authz.InvalidRoute:
		return in.env.Stats.Counter(stats.InboundHTTPErrors,
			stats.Labels("").Add("direction", string(stats.Inbound), "error", string(v.Reason)))
	default:
		return in.env.Stats.Counter(stats.InboundHTTPDeny, labels.With("reason", string(v.Reason)))
	}
}

// countServed makes what counts the requests that are let in.
func (in *Inbound) countServed(c *peerConn, d *cachedDecision) {
	parent := stats.Labels("").Add("parent_group", d.server.Group, "parent_kind", strings.ToLower(d.server.Kind),
		"parent_name", d.server.Name, "parent_port", c.name.Port)
	r := d.Route
	var release func()
	d.served, release = in.env.Stats.InboundRoute(parent.WithRoute(r), r.Kind == "GRPCRoute")
	d.release = append(d.release, release)
	if r.Namespace == "" { // there is no such object
		return
	}
	d.named, release = in.env.Stats.Named(stats.Labels("").Add("direction", "inbound", "rt_route", r.Name))
	d.release = append(d.release, release)
}

// countLimited counts a request that was too many.
func (in *Inbound) countLimited(c *peerConn, d *cachedDecision, scope limit.Scope) {
	counter := d.limited[scope]
	if counter == nil {
		l := c.labels(c.decisions.port).WithRateLimit(d.limiter.Limit().Ref, scope)
		var release func()
		counter, release = in.env.Stats.Counter(stats.InboundHTTPLimited, l)
		d.release = append(d.release, release)
		if d.limited == nil {
			d.limited = map[limit.Scope]*stats.Counter{}
		}
		d.limited[scope] = counter
	}
	counter.Inc()
}
