package proxy

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// revokeGrace is how long requests in flight may go on after their client lost its right. Short ones end by themselves; what does not,
// a tunnel or a stream, is cut within the second that docs/request.md promises.
const revokeGrace = 500 * time.Millisecond

// openConn is an inbound connection whose right is checked again when the policy changes.
type openConn struct {
	peer   authz.Peer
	client clientTLS
	app    netip.AddrPort
	ledger *ledger            // nil for a connection whose requests cannot be told apart
	cut    context.CancelFunc // resets the connection

	// deniedSince is when a policy first denied what the connection carries; zero while it is allowed. Only followPolicy uses it.
	deniedSince time.Time
}

// lost reports whether the policy denies what the connection carries, and why.
func (c *openConn) lost(p *authz.Policy) (v authz.Decision, lost bool) {
	port := p.Port(c.app.Port())
	if c.ledger != nil {
		return c.ledger.lost(port, c.peer)
	}
	v = port.Decide(c.peer)
	return v, !v.Allow
}

func (in *inbound) register(c *openConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.open[c] = struct{}{}
}

func (in *inbound) unregister(c *openConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.open, c)
}

// setPolicy makes p the policy of new connections and requests, and rechecks the open ones. It returns when to recheck them again.
func (in *inbound) setPolicy(p *authz.Policy) (recheck time.Time) {
	in.policy.Store(p)
	in.policySince = time.Now()
	in.limiters.keep(p.RateLimits())
	in.recheck(in.policySince)
	return in.policySince.Add(revokeGrace) // a request that was decided on a moment ago may not be registered yet
}

// recheck cuts the open connections that the policy denies: opaque ones at once, those with requests after revokeGrace. It returns when to
// call it again; zero when no connection waits for its end.
func (in *inbound) recheck(now time.Time) (again time.Time) {
	p := in.policy.Load()
	in.mu.Lock()
	open := slices.Collect(maps.Keys(in.open))
	in.mu.Unlock()
	for _, c := range open {
		v, lost := c.lost(p)
		if !lost {
			c.deniedSince = time.Time{}
			continue
		}
		if c.deniedSince.IsZero() {
			c.deniedSince = in.policySince
		}
		if due := c.deniedSince.Add(revokeGrace); c.ledger != nil && now.Before(due) {
			if again.IsZero() || due.Before(again) {
				again = due
			}
			continue
		}
		labels := inboundLabels(in.appName(c.app), c.client, p.Port(c.app.Port()).Server())
		in.proxy.stats.Inc(stats.InboundTCPTerminate, labels.With("reason", string(v.Reason)))
		in.events.info("connection lost its right", zap.Stringer("app", c.app), zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID), zap.String("reason", string(v.Reason)))
		c.cut()
	}
	return again
}
