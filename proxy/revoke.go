package proxy

import (
	"context"
	"sync/atomic"
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
	peer     authz.Peer
	port     uint16
	requests *atomic.Int32      // in flight; nil for a connection whose requests cannot be told apart
	cut      context.CancelFunc // resets the connection
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
	in.cut(func(c *openConn) bool { return c.requests == nil })
}

// cutLingering cuts the denied connections that still carry a request. Requests that began under the present policy were denied at
// once, so these began before.
func (in *inbound) cutLingering() {
	in.cut(func(c *openConn) bool { return c.requests != nil && c.requests.Load() > 0 })
}

// cut ends the open connections that the policy denies and which reports true of.
func (in *inbound) cut(which func(*openConn) bool) {
	p := in.policy.Load()
	for _, c := range in.denied(p) {
		if !which(c) {
			continue
		}
		reason := string(p.Port(c.port).Decide(c.peer).Reason)
		in.proxy.stats.Counter(stats.InboundTCPTerminate, stats.Labels("").With("direction", "inbound").With("reason", reason)).Inc()
		in.events.info("connection lost its right", zap.Uint16("port", c.port), zap.Stringer("client", c.peer.Addr),
			zap.Stringer("client_id", c.peer.ID), zap.String("reason", reason))
		c.cut()
	}
}

func (in *inbound) denied(p *authz.Policy) (out []*openConn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for c := range in.open {
		if !p.Port(c.port).Decide(c.peer).Allow {
			out = append(out, c)
		}
	}
	return out
}
