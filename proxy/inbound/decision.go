package inbound

import (
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// cachedDecision is what the requests of one connection to one part of a port share: the policy's decision, and the
// counters. A request only looks it up.
type cachedDecision struct {
	part authz.Part
	authz.Decision
	server  mesh.Ref
	limiter *limit.Limiter // nil without a rate limit
	http    *stats.HTTP
	served  *stats.InboundRoute // of allowed requests; nil if they are denied
	named   *stats.HTTP         // the same under the name of the route, if it has one
	release []func()
	// decided counts the decision: allowed, denied, or for no route.
	decided *stats.Counter
	limited map[limit.Scope]*stats.Counter // made at the first request beyond the rate limit
	// inFlight counts the requests that have not ended.
	inFlight atomic.Int32
}

// decisionCache holds the decisions of a connection. Only the handler changes it, one request at a time. Recheck reads
// it.
type decisionCache struct {
	port *authz.Port // that current is about

	mu      sync.Mutex // held to change the fields below, and to read them outside of the handler
	current []*cachedDecision
	former  []*cachedDecision // of earlier policies, with requests in flight
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

// rotate begins with the decisions of another policy, and closes the former ones without requests in flight.
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

// revoked reports whether port no longer allows a request in flight, and returns the decision that denies it.
func (c *decisionCache) revoked(port *authz.Port, peer authz.Peer) (denied authz.Decision, revoked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [...][]*cachedDecision{c.former, c.current} {
		for _, d := range list {
			if d.inFlight.Load() == 0 || !d.Allow {
				continue
			}
			if now := port.Recheck(peer, d.Decision); !now.Allow {
				return now, true
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
	d := &cachedDecision{part: part, Decision: port.DecidePart(c.peer, part), server: port.Server()}
	labels := c.labels(port).WithRoute(d.Route)
	var release func()
	d.http, release = in.env.Stats.HTTP(labels.WithAuthz(d.Authorization))
	d.release = append(d.release, release)
	if d.Allow {
		in.addServedCounters(c, d)
	}
	d.decided, release = in.decidedCounter(d.Decision, labels)
	d.release = append(d.release, release)
	if l := port.RateLimit(); l != nil && d.Allow && part != authz.Probe {
		d.limiter = in.limiters.get(l)
	}
	c.decisions.add(d)
	return d
}

// decidedCounter returns the counter of requests with a decision.
func (in *Inbound) decidedCounter(d authz.Decision, labels stats.Labels) (c *stats.Counter, release func()) {
	switch {
	case d.Allow:
		return in.env.Stats.Counter(stats.InboundHTTPAllow, labels.WithAuthz(d.Authorization))
	case d.Reason == authz.NoRoute:
		return in.env.Stats.Counter(stats.InboundHTTPNoRoute, labels)
	case d.Reason == authz.AmbiguousPath, d.Reason == authz.InvalidRoute:
		return in.env.Stats.Counter(stats.InboundHTTPErrors, stats.ErrorLabels(stats.Inbound, string(d.Reason)))
	default:
		return in.env.Stats.Counter(stats.InboundHTTPDeny, labels.With("reason", string(d.Reason)))
	}
}

// addServedCounters adds the counters of allowed requests to d.
func (in *Inbound) addServedCounters(c *peerConn, d *cachedDecision) {
	parent := stats.ServerLabels(d.server, c.appName)
	r := d.Route
	var release func()
	d.served, release = in.env.Stats.InboundRoute(parent.WithRoute(r), r.Kind == "GRPCRoute")
	d.release = append(d.release, release)
	if r.Namespace == "" { // there is no such object
		return
	}
	d.named, release = in.env.Stats.Named(stats.NamedRouteLabels(stats.Inbound, "", r.Name))
	d.release = append(d.release, release)
}

// countLimited counts a request beyond the rate limit.
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
