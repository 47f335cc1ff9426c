// Package flood holds the bounds on useless work that a peer may cause on an HTTP/2 connection: by kind of peer, what
// it may spend, and what an honest peer gets back. It decides nothing and sends nothing: proxy/forward does. It must
// not import any package of the proxy. The limits are documented in docs/request.md, "Flood limits".
package flood

import (
	"slices"
	"time"
)

// PeerKind is the kind of peer at the other end of an HTTP/2 connection. It decides how much useless work the peer may
// cause before the connection ends.
type PeerKind uint8

// The kinds of peer. A client connected to us; we connected to a server.
const (
	UnmeshedClient PeerKind = iota
	MeshedClient
	LocalClient // a process of this pod
	UnmeshedServer
	MeshedServer
)

// KindOf returns the kind of a peer: a server or a client, which speaks for the mesh or not. local says that unmeshed
// clients are processes of this pod.
func KindOf(server, meshed, local bool) PeerKind {
	switch {
	case server && meshed:
		return MeshedServer
	case server:
		return UnmeshedServer
	case meshed:
		return MeshedClient
	case local:
		return LocalClient
	}
	return UnmeshedClient
}

// String returns the word that metrics, logs and documents share.
func (k PeerKind) String() string {
	return [...]string{"unmeshed_client", "meshed_client", "local_client", "unmeshed_server", "meshed_server"}[k]
}

const (
	// MuxFactor is how many times as many streams a connection between proxies carries.
	MuxFactor = 16
	// honestAge is the age from which a stream's reset is free. A peer whose streams live so long gets no more requests
	// in than its limit of streams allows, and rapid reset exists to get round that limit. Most deadlines are longer.
	honestAge = 10 * time.Millisecond
	// Provoked is how many control frames a peer may send for each of our frames. grpc-go, C-core and Java measure the
	// connection with PING and WINDOW_UPDATE, of the stream and of the connection, when DATA arrives. Envoy allows 10
	// WINDOW_UPDATE frames.
	Provoked = 4
	// Roomy is the window from which DATA allows control frames. A peer that grants its window in crumbs must not earn
	// more frames with each (CVE-2019-9511).
	Roomy = 16 << 10
)

// Budgets returns the budgets of a new connection: for streams that the peer gets wrong, for streams that it resets,
// and for control frames. A meshed client that runs out of resets is throttled, so they must not use up the first.
func (k PeerKind) Budgets() (abuse, resets, control Budget) {
	abuse, control = Budget{burst: 1000, rate: 100}, Budget{burst: 4000, rate: 1000}
	switch k {
	case MeshedClient: // it carries the streams of many clients
		abuse = Budget{burst: 1000 * MuxFactor, rate: 100 * MuxFactor}
	case LocalClient: // as many calls as one can make may have deadlines of a millisecond
		abuse = Budget{burst: 20_000, rate: 10_000}
	}
	return abuse, abuse, control
}

// ResetCost is what a client's reset of a stream takes from its budget: always a token for a stranger. For other
// clients it is less the older the stream is, and nothing once the response has begun, because the stream has then cost
// the client as much as any other. age is that of the stream.
func (k PeerKind) ResetCost(age time.Duration, responseBegun bool) float64 {
	switch {
	case k == UnmeshedClient:
		return 1
	case responseBegun:
		return 0
	}
	return max(0, 1-float64(age)/float64(honestAge))
}

// RapidReset is the reason of a flood of resets, CVE-2023-44487.
const RapidReset = "rapid_reset"

// Budget is a token bucket against peers that cause useless work. What a peer achieves fills it too, so that a busy
// honest peer never runs out.
type Budget struct {
	burst, rate float64 // tokens at most; tokens a second
	used        float64
	at          time.Time
}

// Spend takes a token and reports whether there was one.
func (b *Budget) Spend(now time.Time) bool { return b.Take(now, 1) }

// Take takes n tokens and reports whether there were so many.
func (b *Budget) Take(now time.Time, n float64) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	b.used += n
	return b.used <= b.burst
}

// Refund gives n tokens back.
func (b *Budget) Refund(n float64) { b.used = max(0, b.used-n) }

// Resets remembers the streams that were reset last. Frames of theirs may still arrive, for as many as may be open at
// once.
type Resets struct {
	ids []uint32 // a ring once it is full
	at  int
}

// Add notes the reset of stream id. At most most streams are remembered.
func (r *Resets) Add(id uint32, most int) {
	if len(r.ids) < most {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.at] = id
	r.at = (r.at + 1) % most
}

// Has reports whether stream id was reset lately.
func (r *Resets) Has(id uint32) bool { return slices.Contains(r.ids, id) }
