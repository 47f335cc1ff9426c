package proxy

import (
	"context"
	"net/netip"
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
}

// lost reports whether the policy denies what the connection carries, and why.
func (c *openConn) lost(p *authz.Policy) (v authz.Verdict, lost bool) {
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

// setPolicy makes p the policy of new connections and requests, and cuts the open opaque connections that it denies. Call cutLingering
// after revokeGrace.
func (in *inbound) setPolicy(p *authz.Policy) {
	in.policy.Store(p)
	in.limiters.keep(p.RateLimits())
	in.cut(func(c *openConn) bool { return c.ledger == nil })
}

// cutLingering cuts the connections that still carry a request which the policy denies. Requests that began under the present policy
// were denied at once, so these began before.
func (in *inbound) cutLingering() {
	in.cut(func(c *openConn) bool { return c.ledger != nil })
}

// cut ends the open connections which report true of and whose right the policy took away.
func (in *inbound) cut(which func(*openConn) bool) {
	p := in.policy.Load()
	in.mu.Lock()
	candidates := make([]*openConn, 0, len(in.open))
	for c := range in.open {
		if which(c) {
			candidates = append(candidates, c)
		}
	}
	in.mu.Unlock()
	for _, c := range candidates {
		v, lost := c.lost(p)
		if !lost {
			continue
		}
		labels := inboundLabels(in.appName(c.app), c.client, p.Port(c.app.Port()).Server())
		in.proxy.stats.Inc(stats.InboundTCPTerminate, labels.With("reason", string(v.Reason)))
		in.events.info("connection lost its right", zap.Stringer("app", c.app), zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID), zap.String("reason", string(v.Reason)))
		c.cut()
	}
}
