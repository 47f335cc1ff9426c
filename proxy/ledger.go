package proxy

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// account is what the requests of one connection to one part of a port share: their verdict, and where they are counted. Finding it is
// all that a request costs.
type account struct {
	part    authz.Part
	verdict authz.Decision
	server  mesh.Ref
	limiter *limit.Limiter // nil where nothing is limited
	http    *stats.HTTP
	served  *stats.InboundRoute // what is let in; nil where nothing is
	named   *stats.HTTP         // the same under the name of the route, if it has one
	release []func()
	// decided counts the verdict: allowed, denied, or for no route.
	decided *stats.Counter
	limited map[limit.Scope]*stats.Counter // made at the first request that is too many
	// inFlight counts the requests that are not over.
	inFlight atomic.Int32
}

// ledger holds the accounts of a connection. The handler alone changes it, one request at a time; others may look at it.
type ledger struct {
	port *authz.Port // that current is about

	mu      sync.Mutex // held to change the fields below, and to look at them from outside of the handler
	current []*account
	former  []*account // of earlier policies, with requests that are not over
}

// find returns the account of a part of the port; nil if there is none yet.
func (l *ledger) find(port *authz.Port, part authz.Part) *account {
	if l.port != port {
		l.turnOver(port)
	}
	for _, a := range l.current {
		if a.part == part {
			return a
		}
	}
	return nil
}

func (l *ledger) add(a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = append(l.current, a)
}

// turnOver begins the accounts of another policy and closes those that nobody needs.
func (l *ledger) turnOver(port *authz.Port) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var former []*account
	for _, a := range append(l.former, l.current...) {
		if a.inFlight.Load() > 0 {
			former = append(former, a)
		} else {
			a.close()
		}
	}
	l.port, l.current, l.former = port, nil, former
}

// close ends the accounts at the end of the connection.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range append(l.former, l.current...) {
		a.close()
	}
	l.current, l.former = nil, nil
}

// close lets go of the counters.
func (a *account) close() {
	for _, release := range a.release {
		release()
	}
}

// lost returns the verdict on a request in flight that port does not let this peer make any more.
func (l *ledger) lost(port *authz.Port, peer authz.Peer) (v authz.Decision, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range [...][]*account{l.former, l.current} {
		for _, a := range list {
			if a.inFlight.Load() == 0 || !a.verdict.Allow {
				continue
			}
			if v := port.Recheck(peer, a.verdict); !v.Allow {
				return v, true
			}
		}
	}
	return authz.Decision{}, false
}

// account returns where a connection's requests for a part of its port are counted.
func (in *inbound) account(c *inboundConn, port *authz.Port, part authz.Part) *account {
	if a := c.ledger.find(port, part); a != nil {
		return a
	}
	v := port.DecidePart(c.peer, part)
	labels := withRoute(c.labels(port), v.Route)
	a := &account{part: part, verdict: v, server: port.Server()}
	counted := withAuthz(labels, v.Authorization)
	var release func()
	a.http, release = in.proxy.stats.HTTP(counted)
	a.release = append(a.release, release)
	if v.Allow {
		in.countServed(c, a)
	}
	a.decided, release = in.decisions(v, labels)
	a.release = append(a.release, release)
	if l := port.RateLimit(); l != nil && v.Allow && part != authz.Probe {
		a.limiter = in.limiters.get(l)
	}
	c.ledger.add(a)
	return a
}

// decisions returns what counts requests with a verdict.
func (in *inbound) decisions(v authz.Decision, labels stats.Labels) (c *stats.Counter, release func()) {
	switch {
	case v.Allow:
		return in.proxy.stats.Counter(stats.InboundHTTPAllow, withAuthz(labels, v.Authorization))
	case v.Reason == authz.NoRoute:
		return in.proxy.stats.Counter(stats.InboundHTTPNoRoute, labels)
	case v.Reason == authz.AmbiguousPath, v.Reason == authz.InvalidRoute:
		return in.proxy.stats.Counter(stats.InboundHTTPErrors, stats.Labels("").With("direction", "inbound").With("error", string(v.Reason)))
	default:
		return in.proxy.stats.Counter(stats.InboundHTTPDeny, labels.With("reason", string(v.Reason)))
	}
}

// countServed makes what counts the requests that are let in.
func (in *inbound) countServed(c *inboundConn, a *account) {
	parent := stats.Labels("").Add("parent_group", a.server.Group, "parent_kind", strings.ToLower(a.server.Kind), "parent_name", a.server.Name,
		"parent_port", c.name.port)
	r := a.verdict.Route
	var release func()
	a.served, release = in.proxy.stats.InboundRoute(withRoute(parent, r), r.Kind == "GRPCRoute")
	a.release = append(a.release, release)
	if r.Namespace == "" { // there is no such object
		return
	}
	a.named, release = in.proxy.stats.Named(stats.Labels("").Add("direction", "inbound", "rt_route", r.Name))
	a.release = append(a.release, release)
}

// countLimited counts a request that was too many.
func (in *inbound) countLimited(c *inboundConn, a *account, scope limit.Scope) {
	counter := a.limited[scope]
	if counter == nil {
		l := withRateLimit(c.labels(c.ledger.port), a.limiter.Limit().Ref, scope)
		var release func()
		counter, release = in.proxy.stats.Counter(stats.InboundHTTPLimited, l)
		a.release = append(a.release, release)
		if a.limited == nil {
			a.limited = map[limit.Scope]*stats.Counter{}
		}
		a.limited[scope] = counter
	}
	counter.Inc()
}

// limiters keep what rate limits have counted while policies come and go.
type limiters struct {
	mu    sync.Mutex // guards byRef
	byRef map[mesh.Ref]*limit.Limiter
}

// get returns the limiter that keeps l: the one in use if l has not changed.
func (ls *limiters) get(l *mesh.RateLimit) *limit.Limiter {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if kept := ls.byRef[l.Ref]; kept != nil && kept.Keeps(l) {
		return kept
	}
	made := limit.New(*l)
	ls.byRef[l.Ref] = made
	return made
}

// keep forgets the limiters of other rate limits than these.
func (ls *limiters) keep(limits []*mesh.RateLimit) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	kept := make(map[mesh.Ref]*limit.Limiter, len(limits))
	for _, l := range limits {
		if limiter := ls.byRef[l.Ref]; limiter != nil {
			kept[l.Ref] = limiter
		}
	}
	ls.byRef = kept
}
