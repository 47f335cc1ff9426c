// Package reverify ends open mesh TLS connections whose peer's certificate no longer proves who the peer is.
//
// It owns the evaluation of peers' certificates after the handshake. It must not import what serves connections
// (proxy/inbound, proxy/outbound). The one idea: a handshake proves who the peer is only at its own time. Afterwards
// its certificate can expire, or its trust anchor can be dropped. Each end of a connection reviews the certificate of
// the other. No request pays for it: open connections are reviewed when the anchors change, and once in a while.
package reverify

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

const (
	// interval is how often open connections are reviewed when nothing is known to be due.
	interval = time.Minute
	// rotateAhead is how long before a certificate expires, at most, its connections are replaced. Its owner has renewed
	// it long before.
	rotateAhead = 10 * time.Minute
	// rotateAheadPart does the same for short-lived certificates: one of so many parts of their lifetime.
	rotateAheadPart = 10
	// Review checks signatures for evaluateFor, and then pauses for evaluatePause, so that requests go first. To yield the
	// thread is not enough: Go's scheduler looks at the network only when nothing else can run, or every 10 ms.
	evaluateFor, evaluatePause = time.Millisecond, time.Millisecond
)

// Values of the label "action": what happened to a connection whose peer is no longer trusted.
const (
	actionDrained = "drained"
	actionCut     = "cut"
)

// errNotTrusted is what cut connections end with.
var errNotTrusted = errors.New("the peer is no longer trusted: its trust anchor was dropped, or it was revoked")

// Reviewer ends the mesh TLS connections whose peer's certificate is no longer valid. Make it with New.
type Reviewer struct {
	env     *env.Env
	events  *env.EventLog
	engines []watched

	mu     sync.Mutex // guards the field below
	relays map[*sock.Conn]*watched

	reviewing sync.Mutex // guards the fields below
	peers     map[*sock.Conn]*peerExpiry
	round     uint64 // counts reviews
	anchors   workload.Anchors
	stranded  bool // our own certificate is not valid under the anchors
}

// watched is an opaque connection, a connection of an engine, or an engine.
type watched struct {
	direction stats.Direction
	engine    *forward.Engine    // nil for an opaque connection
	cut       context.CancelFunc // of an opaque connection
}

// peerExpiry is what is known about the peer of an open connection.
type peerExpiry struct {
	watched
	chain   []*x509.Certificate
	anchors workload.Anchors // that the chain was last checked against
	reason  workload.Reason
	drainAt time.Time // when to let it finish its requests; zero: never
	cutAt   time.Time // when to end it at once; zero: never
	drained bool
	seen    uint64 // the last round that found it open
}

// New makes a Reviewer. It does nothing before Run.
func New(e *env.Env) *Reviewer {
	return &Reviewer{
		env: e, events: env.NewEventLog(e.Log.Named("reverify"), e.Now),
		relays: map[*sock.Conn]*watched{}, peers: map[*sock.Conn]*peerExpiry{},
	}
}

// WatchEngine adds the connections of an engine. Call it before Run.
func (r *Reviewer) WatchEngine(d stats.Direction, engine *forward.Engine) {
	r.engines = append(r.engines, watched{direction: d, engine: engine})
}

// Watch adds an opaque connection, until forget is called: Review cuts it when its peer's trust anchor is dropped. It
// ignores a nil conn, which is one without TLS.
func (r *Reviewer) Watch(conn *sock.Conn, d stats.Direction, cut context.CancelFunc) (forget func()) {
	if conn == nil {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.relays[conn] = &watched{direction: d, cut: cut}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.relays, conn)
	}
}

// Run reviews the open connections when the anchors change and when one is due, until ctx ends.
func (r *Reviewer) Run(ctx context.Context) error {
	select {
	case <-r.env.Certs.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		_, replaced := r.env.Certs.Anchors()
		now := time.Now().Round(0) // the wall clock, which goes on while a machine sleeps
		timer := time.NewTimer(max(r.Review(now).Sub(now), r.env.Times.ExpirySpread/10))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-replaced:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Watched returns how many opaque connections are watched.
func (r *Reviewer) Watched() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.relays)
}

// Review ends the connections that are due at now, and returns when to call it again. Run calls it.
func (r *Reviewer) Review(now time.Time) (next time.Time) {
	r.reviewing.Lock()
	defer r.reviewing.Unlock()
	next = now.Add(interval)
	if !r.ownAccepted(now) {
		return next
	}
	anchors, _ := r.env.Certs.Anchors()
	if anchors != r.anchors { // handshakes in progress may have used the former anchors: review again after them
		r.anchors, next = anchors, now.Add(r.env.Times.Handshake)
	}
	r.updatePeers()
	var toDrain, toCut []*sock.Conn
	began := time.Now()
	for conn, p := range r.peers {
		if p.anchors != anchors {
			r.evaluate(p, anchors, now)
			if time.Since(began) > evaluateFor { // the chains of a thousand peers take a good part of a second
				time.Sleep(evaluatePause)
				began = time.Now()
			}
		}
		switch {
		case due(p.cutAt, now):
			toCut = append(toCut, conn)
		case due(p.drainAt, now) && !p.drained:
			p.drained = true
			toDrain = append(toDrain, conn)
		}
		for _, at := range []time.Time{p.drainAt, p.cutAt} {
			if at.After(now) && at.Before(next) {
				next = at
			}
		}
	}
	r.drain(toDrain)
	r.cut(toCut)
	return next
}

// due reports whether a time has come; the zero one never does.
func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// ownAccepted reports whether our own certificate is valid under the active anchors. While it is not, Review ends no
// connection: with a wrong bundle, no connection that it ends could be made again.
func (r *Reviewer) ownAccepted(now time.Time) bool {
	err := r.env.Certs.Accepted(now)
	if stranded := err != nil; stranded != r.stranded {
		r.stranded = stranded
		if stranded {
			r.env.Log.Warn("own certificate not accepted under the active trust anchors, open connections go on", zap.Error(err))
		}
	}
	return err == nil
}

// updatePeers makes peers those of the connections that are open.
func (r *Reviewer) updatePeers() {
	r.round++
	for _, e := range r.engines {
		for _, conn := range e.engine.Secured() {
			r.addPeer(conn, e)
		}
	}
	r.mu.Lock()
	relays := maps.Clone(r.relays)
	r.mu.Unlock()
	for conn, w := range relays {
		r.addPeer(conn, *w)
	}
	maps.DeleteFunc(r.peers, func(_ *sock.Conn, p *peerExpiry) bool { return p.seen != r.round })
}

// addPeer adds the peer of an open connection, unless it is known, and marks it as seen.
func (r *Reviewer) addPeer(conn *sock.Conn, w watched) {
	p := r.peers[conn]
	if p == nil {
		state, _ := conn.TLS()
		p = &peerExpiry{watched: w, chain: state.PeerCertificates}
		r.peers[conn] = p
	}
	p.seen = r.round
}

// evaluate decides when a connection is drained and cut under the anchors.
func (r *Reviewer) evaluate(p *peerExpiry, anchors workload.Anchors, now time.Time) {
	usage := x509.ExtKeyUsageServerAuth
	if p.direction == stats.Inbound {
		usage = x509.ExtKeyUsageClientAuth
	}
	until, reason := anchors.Vouch(p.chain, usage, now)
	p.anchors = anchors
	switch {
	case reason == "":
		p.reason, p.drainAt, p.cutAt = workload.OutOfTime, rotateAt(p.chain[0].NotBefore, until, now), time.Time{}
	case reason == workload.Revoked:
		p.reason, p.drainAt, p.cutAt = reason, time.Time{}, now
	case reason == workload.OutOfTime:
		p.reason, p.drainAt, p.cutAt = reason, now, time.Time{}
	case p.cutAt.IsZero() || due(p.cutAt, now):
		// Otherwise its times are set already. Times that have passed are set anew: see ownAccepted.
		spread := r.env.Times.ExpirySpread
		p.reason, p.drainAt = reason, now.Add(rand.N(spread+1))
		p.cutAt = now.Add(r.env.Times.ExpiryGrace + rand.N(spread+1))
	}
	if p.engine == nil {
		p.drainAt = time.Time{} // the proxy does not know where a message of an opaque connection ends
	}
}

// rotateAt returns when to replace a connection whose peer's certificate expires at until: some time before, when the
// peer has long renewed it, and at another time for each connection. A connection that was made too late for that stays
// until then.
func rotateAt(from, until, now time.Time) time.Time {
	ahead := min(rotateAhead, until.Sub(from)/rotateAheadPart)
	if ahead <= 0 || !now.Before(until.Add(-ahead)) {
		return until
	}
	return until.Add(-rand.N(ahead))
}

// drain lets the connections finish their requests.
func (r *Reviewer) drain(conns []*sock.Conn) {
	r.record(conns, actionDrained, "peer certificate no longer valid, connection drained")
	for engine, set := range r.byEngine(conns) {
		engine.Retire(set)
	}
}

// cut ends the connections at once.
func (r *Reviewer) cut(conns []*sock.Conn) {
	r.record(conns, actionCut, "peer certificate no longer valid, connection cut")
	for engine, set := range r.byEngine(conns) {
		if engine != nil {
			engine.Cut(set, errNotTrusted)
			continue
		}
		for conn := range set {
			r.peers[conn].watched.cut()
		}
	}
	for _, conn := range conns {
		delete(r.peers, conn) // updatePeers adds it again if it is still open
	}
}

// byEngine returns the connections by the engine that serves them; the nil engine has the opaque ones.
func (r *Reviewer) byEngine(conns []*sock.Conn) map[*forward.Engine]map[*sock.Conn]struct{} {
	sets := map[*forward.Engine]map[*sock.Conn]struct{}{}
	for _, conn := range conns {
		engine := r.peers[conn].engine
		if sets[engine] == nil {
			sets[engine] = map[*sock.Conn]struct{}{}
		}
		sets[engine][conn] = struct{}{}
	}
	return sets
}

// record counts and logs what happens to the connections.
func (r *Reviewer) record(conns []*sock.Conn, action, message string) {
	for _, conn := range conns {
		p := r.peers[conn]
		r.env.Stats.Inc(stats.MeshConnectionsExpired, stats.ExpiryLabels(p.direction, action, string(p.reason)))
		state, _ := conn.TLS()
		id, _ := workload.PeerID(state) // the handshake has checked it
		r.events.Info(message, zap.String("direction", string(p.direction)), zap.Stringer("peer", id),
			zap.Stringer("addr", conn.RemoteAddr()), zap.String("reason", string(p.reason)))
	}
}
