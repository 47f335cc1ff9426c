// Package reverify looks at open mesh TLS connections again: it ends those whose peer's certificate no longer proves
// who the peer is.
//
// It owns the evaluation of peers' certificates after the handshake. It must not import what serves connections
// (proxy/inbound, proxy/outbound). The one idea: a handshake proves who the peer is at its own moment only. Afterwards
// its certificate can end, or its trust anchor can be dropped. Each end of a connection looks at the other's
// certificate, so both are looked at. No request pays for it: open connections are looked at when the anchors change
// and once in a while.
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
	// interval is how often open connections are looked at when nothing is known to be due.
	interval = time.Minute
	// rotateAhead is how long before the end of a certificate, at most, its connections are replaced: long after it was
	// renewed.
	rotateAhead = 10 * time.Minute
	// rotateAheadPart is the same as a part of the certificate's life, for short ones.
	rotateAheadPart = 10
	// Signatures are checked for evaluateFor, and then requests go first for evaluatePause. To yield the thread is not
	// enough: Go's scheduler looks at the network only when nothing else can run, or every 10 ms.
	evaluateFor, evaluatePause = time.Millisecond, time.Millisecond
)

// Values of the label "action": what happened to a connection whose peer is no longer trusted.
const (
	actionDrained = "drained"
	actionCut     = "cut"
)

// errAnchorDropped is what cut connections end with.
var errAnchorDropped = errors.New("the peer's trust anchor was dropped")

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
	stranded  bool // our own certificate is not accepted under the anchors
}

// watched is a connection as Review finds it, or an engine and its connections.
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
	drainAt time.Time // zero: never
	cutAt   time.Time // when it ends, whatever it carries; zero: never
	drained bool
	seen    uint64 // the last review that found it open
}

// New makes a Reviewer. It does nothing before Run.
func New(e *env.Env) *Reviewer {
	return &Reviewer{
		env: e, events: env.NewEventLog(e.Log.Named("reverify"), e.Now),
		relays: map[*sock.Conn]*watched{}, peers: map[*sock.Conn]*peerExpiry{},
	}
}

// WatchEngine adds the connections of an engine. Call it before Run.
func (x *Reviewer) WatchEngine(d stats.Direction, engine *forward.Engine) {
	x.engines = append(x.engines, watched{direction: d, engine: engine})
}

// Watch has an opaque connection cut when its peer's trust anchor is dropped, until forget is called. It ignores a nil
// conn, which is one without TLS.
func (x *Reviewer) Watch(conn *sock.Conn, d stats.Direction, cut context.CancelFunc) (forget func()) {
	if conn == nil {
		return func() {}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.relays[conn] = &watched{direction: d, cut: cut}
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.relays, conn)
	}
}

// Run looks at the open connections whenever that may change something, until ctx ends.
func (x *Reviewer) Run(ctx context.Context) error {
	select {
	case <-x.env.Certs.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		_, replaced := x.env.Certs.Anchors()
		now := time.Now().Round(0) // the wall clock: a machine that slept must not take an old certificate for a young one
		timer := time.NewTimer(max(x.Review(now).Sub(now), x.env.Times.ExpirySpread/10))
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
func (x *Reviewer) Watched() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.relays)
}

// Review ends the connections that are due at now, and returns when to look again. Run calls it.
func (x *Reviewer) Review(now time.Time) (next time.Time) {
	x.reviewing.Lock()
	defer x.reviewing.Unlock()
	next = now.Add(interval)
	if !x.ownAccepted(now) {
		return next
	}
	anchors, _ := x.env.Certs.Anchors()
	if anchors != x.anchors { // handshakes that are under way may have gone by the anchors of before
		x.anchors, next = anchors, now.Add(x.env.Times.Handshake)
	}
	x.find()
	var drain, cut []*sock.Conn
	began := time.Now()
	for conn, p := range x.peers {
		if p.anchors != anchors {
			x.evaluate(p, anchors, now)
			if time.Since(began) > evaluateFor { // the chains of a thousand peers take a good part of a second
				time.Sleep(evaluatePause)
				began = time.Now()
			}
		}
		switch {
		case due(p.cutAt, now):
			cut = append(cut, conn)
		case due(p.drainAt, now) && !p.drained:
			p.drained = true
			drain = append(drain, conn)
		}
		for _, at := range []time.Time{p.drainAt, p.cutAt} {
			if at.After(now) && at.Before(next) {
				next = at
			}
		}
	}
	x.drain(drain)
	x.cut(cut)
	return next
}

// due reports whether an instant has come; the zero one never does.
func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// ownAccepted reports whether our own certificate is valid under the active anchors. While it is not, no connection is
// ended: a bundle that is wrong strands us too, and no connection that we end could be made again.
func (x *Reviewer) ownAccepted(now time.Time) bool {
	err := x.env.Certs.Accepted(now)
	if stranded := err != nil; stranded != x.stranded {
		x.stranded = stranded
		if stranded {
			x.env.Log.Warn("own certificate not accepted under the active trust anchors, open connections go on", zap.Error(err))
		}
	}
	return err == nil
}

// find makes peers those of the connections that are open.
func (x *Reviewer) find() {
	x.round++
	for _, e := range x.engines {
		for _, conn := range e.engine.Secured() {
			x.found(conn, e)
		}
	}
	x.mu.Lock()
	relays := maps.Clone(x.relays)
	x.mu.Unlock()
	for conn, r := range relays {
		x.found(conn, *r)
	}
	maps.DeleteFunc(x.peers, func(_ *sock.Conn, p *peerExpiry) bool { return p.seen != x.round })
}

func (x *Reviewer) found(conn *sock.Conn, w watched) {
	p := x.peers[conn]
	if p == nil {
		state, _ := conn.TLS()
		p = &peerExpiry{watched: w, chain: state.PeerCertificates}
		x.peers[conn] = p
	}
	p.seen = x.round
}

// evaluate decides when a connection is drained and cut under the anchors.
func (x *Reviewer) evaluate(p *peerExpiry, anchors workload.Anchors, now time.Time) {
	usage := x509.ExtKeyUsageServerAuth
	if p.direction == stats.Inbound {
		usage = x509.ExtKeyUsageClientAuth
	}
	until, reason := anchors.Vouch(p.chain, usage, now)
	p.anchors = anchors
	switch {
	case reason == "":
		p.reason, p.drainAt, p.cutAt = workload.OutOfTime, rotateAt(p.chain[0].NotBefore, until, now), time.Time{}
	case reason == workload.OutOfTime:
		p.reason, p.drainAt, p.cutAt = reason, now, time.Time{}
	case p.cutAt.IsZero() || due(p.cutAt, now):
		// Otherwise it is to end already. What is overdue could not be drained, see ownAccepted.
		spread := x.env.Times.ExpirySpread
		p.reason, p.drainAt = reason, now.Add(rand.N(spread+1))
		p.cutAt = now.Add(x.env.Times.ExpiryGrace + rand.N(spread+1))
	}
	if p.engine == nil {
		p.drainAt = time.Time{} // nobody knows what the bytes mean: there is no moment to part in order
	}
}

// rotateAt returns when a connection is replaced whose peer's certificate ends at until. That is some time before, at
// another time for each connection, when the peer has long renewed the certificate. A connection that was made too late
// for that stays until the end.
func rotateAt(from, until, now time.Time) time.Time {
	ahead := min(rotateAhead, until.Sub(from)/rotateAheadPart)
	if ahead <= 0 || !now.Before(until.Add(-ahead)) {
		return until
	}
	return until.Add(-rand.N(ahead))
}

// drain lets the connections finish their requests.
func (x *Reviewer) drain(conns []*sock.Conn) {
	for engine, set := range x.byEngine(conns, actionDrained, "peer certificate no longer valid, connection drained") {
		engine.Retire(set)
	}
}

// cut ends the connections at once.
func (x *Reviewer) cut(conns []*sock.Conn) {
	for engine, set := range x.byEngine(conns, actionCut, "peer certificate no longer valid, connection cut") {
		if engine != nil {
			engine.Cut(set, errAnchorDropped)
			continue
		}
		for conn := range set {
			x.peers[conn].watched.cut()
		}
	}
	for _, conn := range conns {
		delete(x.peers, conn) // it is found again if it is still open
	}
}

// byEngine counts and logs what happens to the connections, and sorts them by who serves them.
func (x *Reviewer) byEngine(conns []*sock.Conn, action, message string) map[*forward.Engine]map[*sock.Conn]struct{} {
	sets := map[*forward.Engine]map[*sock.Conn]struct{}{}
	for _, conn := range conns {
		p := x.peers[conn]
		if sets[p.engine] == nil {
			sets[p.engine] = map[*sock.Conn]struct{}{}
		}
		sets[p.engine][conn] = struct{}{}
		direction := string(p.direction)
		labels := stats.Labels("").Add("direction", direction, "action", action, "reason", string(p.reason))
		x.env.Stats.Inc(stats.MeshConnectionsExpired, labels)
		state, _ := conn.TLS()
		id, _ := workload.PeerID(state) // the handshake has read it
		x.events.Info(message, zap.String("direction", direction), zap.Stringer("peer", id),
			zap.Stringer("addr", conn.RemoteAddr()), zap.String("reason", string(p.reason)))
	}
	return sets
}
