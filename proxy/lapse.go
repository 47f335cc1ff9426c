package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/certs"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// A handshake proves who the peer is at its own moment. Afterwards the proof can lapse: its trust anchor is dropped, or its certificate
// ends. Either end of a connection looks at the other's certificate, so both certificates are looked at. Nothing of it happens on the way
// of a request: open connections are looked at when the anchors change and once in a while.

const (
	// lapseInterval is how often open connections are looked at when nothing is known to be due.
	lapseInterval = time.Minute
	// lapseAhead is how long before the end of a certificate, at most, its connections make way for others: long after it was renewed.
	lapseAhead = 10 * time.Minute
	// lapseAheadPart is the same as a part of the certificate's life, for short ones.
	lapseAheadPart = 10
	// judgeStretch is how long signatures are checked at a stretch, and judgePause how long requests go first then. To yield the thread
	// is not enough: Go's scheduler looks at the network only when nothing else can run, or every 10 ms.
	judgeStretch, judgePause = time.Millisecond, time.Millisecond
)

// What becomes of a connection whose proof lapsed; values of the label "action".
const (
	lapseDrained = "drained"
	lapseCut     = "cut"
)

// errLapsed is what cut connections end with.
var errLapsed = errors.New("the peer's trust anchor was dropped")

// lapses ends the mesh TLS connections whose peer is vouched for no longer.
type lapses struct {
	proxy  *Proxy
	events events

	mu     sync.Mutex // guards the field below
	relays map[*sock.Conn]*lapsing

	// The rest is used by review alone.
	proofs   map[*sock.Conn]*proof
	turn     uint64 // counts reviews
	anchors  certs.Anchors
	stranded bool // our own certificate is not accepted under the anchors
}

// lapsing is a connection as review finds it.
type lapsing struct {
	inbound bool
	engine  *forward.Engine    // nil for an opaque connection
	cut     context.CancelFunc // of an opaque connection
}

// proof is what is known about the peer of an open connection.
type proof struct {
	lapsing
	chain   []*x509.Certificate
	anchors certs.Anchors // that vouched for it last, or did not
	reason  certs.Reason
	retire  time.Time // when the connection is to make way for another; zero: never
	cutAt   time.Time // when it is to end, whatever it carries; zero: never
	retired bool
	seen    uint64 // the last review that found it open
}

func newLapses(p *Proxy) *lapses {
	return &lapses{
		proxy: p, events: events{log: p.log.Named("lapse"), now: p.now},
		relays: map[*sock.Conn]*lapsing{}, proofs: map[*sock.Conn]*proof{},
	}
}

// watch has an opaque connection cut when its peer's trust anchor is dropped, until forget is called. A nil conn, one without TLS, is
// left alone.
func (l *lapses) watch(conn *sock.Conn, inbound bool, cut context.CancelFunc) (forget func()) {
	if conn == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relays[conn] = &lapsing{inbound: inbound, cut: cut}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.relays, conn)
	}
}

// run looks at the open connections whenever that may change something, until ctx ends.
func (l *lapses) run(ctx context.Context) error {
	select {
	case <-l.proxy.certs.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		_, replaced := l.proxy.certs.Anchors()
		now := time.Now().Round(0) // the wall clock: a machine that slept must not take an old certificate for a young one
		timer := time.NewTimer(max(l.review(now).Sub(now), l.proxy.times.lapseSpread/10))
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

// review ends the connections that are due at now, and returns when to look again.
func (l *lapses) review(now time.Time) (next time.Time) {
	next = now.Add(lapseInterval)
	if !l.sound(now) {
		return next
	}
	anchors, _ := l.proxy.certs.Anchors()
	if anchors != l.anchors { // handshakes that are under way may have gone by the anchors of before
		l.anchors, next = anchors, now.Add(l.proxy.times.handshake)
	}
	l.find()
	var retire, cut []*sock.Conn
	began := time.Now()
	for conn, p := range l.proofs {
		if p.anchors != anchors {
			l.judge(p, anchors, now)
			if time.Since(began) > judgeStretch { // those of a thousand peers take a good part of a second
				time.Sleep(judgePause)
				began = time.Now()
			}
		}
		switch {
		case due(p.cutAt, now):
			cut = append(cut, conn)
		case due(p.retire, now) && !p.retired:
			p.retired = true
			retire = append(retire, conn)
		}
		for _, at := range []time.Time{p.retire, p.cutAt} {
			if at.After(now) && at.Before(next) {
				next = at
			}
		}
	}
	l.retire(retire)
	l.cut(cut)
	return next
}

// due reports whether an instant has come; the zero one never does.
func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// sound reports whether our own certificate proves us under the anchors in force. While it does not, nothing is ended: a bundle that is
// wrong strands us too, and no connection that we end could be made again.
func (l *lapses) sound(now time.Time) bool {
	err := l.proxy.certs.Accepted(now)
	if stranded := err != nil; stranded != l.stranded {
		l.stranded = stranded
		if stranded {
			l.events.log.Warn("own certificate not accepted under the trust anchors in force, open connections go on", zap.Error(err))
		}
	}
	return err == nil
}

// find brings proofs up to date with what is open.
func (l *lapses) find() {
	l.turn++
	p := l.proxy
	for _, conn := range p.inbound.engine.Secured() {
		l.found(conn, lapsing{inbound: true, engine: p.inbound.engine})
	}
	for _, conn := range p.outbound.engine.Secured() {
		l.found(conn, lapsing{engine: p.outbound.engine})
	}
	l.mu.Lock()
	relays := maps.Clone(l.relays)
	l.mu.Unlock()
	for conn, r := range relays {
		l.found(conn, *r)
	}
	maps.DeleteFunc(l.proofs, func(_ *sock.Conn, p *proof) bool { return p.seen != l.turn })
}

func (l *lapses) found(conn *sock.Conn, how lapsing) {
	p := l.proofs[conn]
	if p == nil {
		state, _ := conn.TLS()
		p = &proof{lapsing: how, chain: state.PeerCertificates}
		l.proofs[conn] = p
	}
	p.seen = l.turn
}

// judge decides what is to become of a connection under the anchors.
func (l *lapses) judge(p *proof, anchors certs.Anchors, now time.Time) {
	usage := x509.ExtKeyUsageServerAuth
	if p.inbound {
		usage = x509.ExtKeyUsageClientAuth
	}
	until, reason := anchors.Vouch(p.chain, usage, now)
	p.anchors = anchors
	switch {
	case reason == "":
		p.reason, p.retire, p.cutAt = certs.OutOfTime, makeWay(p.chain[0].NotBefore, until, now), time.Time{}
	case reason == certs.OutOfTime:
		p.reason, p.retire, p.cutAt = reason, now, time.Time{}
	case p.cutAt.IsZero() || due(p.cutAt, now): // else it is to end already; what is overdue we could not drain, see sound
		spread := l.proxy.times.lapseSpread
		p.reason, p.retire = reason, now.Add(rand.N(spread+1))
		p.cutAt = now.Add(l.proxy.times.lapseGrace + rand.N(spread+1))
	}
	if p.engine == nil {
		p.retire = time.Time{} // nobody knows what the bytes mean: there is no moment to part in order
	}
}

// makeWay returns when a connection of a peer whose proof ends at until is to be replaced: some time before, each at another time, when the
// peer has long renewed its certificate. One that was made so late that the peer cannot have done so stays until the end.
func makeWay(from, until, now time.Time) time.Time {
	ahead := min(lapseAhead, until.Sub(from)/lapseAheadPart)
	if ahead <= 0 || !now.Before(until.Add(-ahead)) {
		return until
	}
	return until.Add(-rand.N(ahead))
}

// retire lets the connections finish their requests.
func (l *lapses) retire(conns []*sock.Conn) {
	for engine, set := range l.byEngine(conns, lapseDrained, "peer's certificate lapsed, connection drained") {
		engine.Retire(set)
	}
}

// cut ends the connections at once.
func (l *lapses) cut(conns []*sock.Conn) {
	for engine, set := range l.byEngine(conns, lapseCut, "peer's certificate lapsed, connection cut") {
		if engine != nil {
			engine.Cut(set, errLapsed)
			continue
		}
		for conn := range set {
			l.proofs[conn].cut()
		}
	}
	for _, conn := range conns {
		delete(l.proofs, conn) // it is found again if it should be open still
	}
}

// byEngine counts what becomes of the connections and sorts them by who serves them.
func (l *lapses) byEngine(conns []*sock.Conn, action, message string) map[*forward.Engine]map[*sock.Conn]struct{} {
	sets := map[*forward.Engine]map[*sock.Conn]struct{}{}
	for _, conn := range conns {
		p := l.proofs[conn]
		if sets[p.engine] == nil {
			sets[p.engine] = map[*sock.Conn]struct{}{}
		}
		sets[p.engine][conn] = struct{}{}
		direction := "outbound"
		if p.inbound {
			direction = "inbound"
		}
		labels := stats.Labels("").With("direction", direction).With("action", action).With("reason", string(p.reason))
		l.proxy.stats.Inc(stats.MeshLapses, labels)
		state, _ := conn.TLS()
		id, _ := certs.PeerID(state) // the handshake has read it
		l.events.info(message, zap.String("direction", direction), zap.Stringer("peer", id),
			zap.Stringer("addr", conn.RemoteAddr()), zap.String("reason", string(p.reason)))
	}
	return sets
}
