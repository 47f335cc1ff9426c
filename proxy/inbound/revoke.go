package inbound

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// revokeGrace is how long requests in flight may go on after policy no longer allows their client. Short ones end
// meanwhile. A tunnel or a stream is cut within the second that docs/request.md promises.
const revokeGrace = 500 * time.Millisecond

// revoked reports whether the policy denies what the connection carries, and why.
func (c *peerConn) revoked(p *authz.Policy) (denied authz.Decision, revoked bool) {
	port := p.Port(c.origDst.Port())
	if c.app != nil {
		return c.decisions.revoked(port, c.peer)
	}
	denied = port.Decide(c.peer)
	return denied, !denied.Allow
}

func (in *Inbound) register(c *peerConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.open[c] = struct{}{}
}

func (in *Inbound) unregister(c *peerConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.open, c)
}

// Policy returns the active policy.
func (in *Inbound) Policy() *authz.Policy { return in.policy.Load() }

// SetPolicy makes p the policy of new connections and requests, and rechecks the open ones. It returns when to call
// Recheck.
func (in *Inbound) SetPolicy(p *authz.Policy) (recheck time.Time) {
	in.policy.Store(p)
	in.policySince = time.Now()
	in.limiters.retain(p.RateLimits())
	in.Recheck(in.policySince)
	return in.policySince.Add(revokeGrace) // a request that was decided on a moment ago may not be registered yet
}

// Recheck cuts the open connections that the policy denies: opaque ones at once, those with requests after revokeGrace.
// It returns when to call it again; zero when no connection waits for its end. It and SetPolicy must not be called at
// the same time.
func (in *Inbound) Recheck(now time.Time) (next time.Time) {
	p := in.policy.Load()
	in.mu.Lock()
	open := slices.Collect(maps.Keys(in.open))
	in.mu.Unlock()
	for _, c := range open {
		denied, revoked := c.revoked(p)
		if !revoked {
			c.deniedSince = time.Time{}
			continue
		}
		if c.deniedSince.IsZero() {
			c.deniedSince = in.policySince
		}
		if due := c.deniedSince.Add(revokeGrace); c.app != nil && now.Before(due) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		labels := stats.InboundLabels(in.appName(c.origDst), c.client, p.Port(c.origDst.Port()).Server())
		in.env.Stats.Inc(stats.InboundTCPTerminate, labels.With("reason", string(denied.Reason)))
		in.events.Info("connection no longer allowed, cut", zap.Stringer("app", c.origDst),
			zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID), zap.String("reason", string(denied.Reason)))
		c.cut()
	}
	return next
}
