package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/limit"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// errHandshakeRate ends a connection before the handshake, because too many handshakes from its address failed. A
// handshake costs the proxy a signature and a key exchange, and a client that aborts it almost nothing.
var errHandshakeRate = errors.New("too many failed handshakes from this address")

// Bounds of failed handshakes of one address: handshakeBurst at once, and one each handshakeCost.
const (
	handshakeBurst = 200
	handshakeCost  = 10 * time.Millisecond
)

// failedHandshakes bounds the cost of failed handshakes, for each address. IPv6 addresses count one by one: the pods of
// a node often share a /64. Handshakes that succeed cost nothing. The failures of at most limit.MaxBuckets addresses
// are remembered. Others are not bounded, so that a stranger of many addresses cannot lock honest ones out. The zero
// value is ready.
type failedHandshakes struct {
	mu      sync.Mutex // guards the fields below
	buckets limit.Buckets[netip.Addr]
}

// allow reports whether addr may begin a handshake at now.
func (f *failedHandshakes) allow(addr netip.Addr, now clock.Instant) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buckets.Find(addr).Wait(now) <= 0
}

// failed counts a failure of addr at now.
func (f *failedHandshakes) failed(addr netip.Addr, now clock.Instant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets.Open(addr, limit.Rate{Cost: handshakeCost, Burst: handshakeBurst * handshakeCost}, now).Take(now)
}

// handshake terminates mesh TLS and returns who the peer proved to be. An address with too many failed handshakes
// gets errHandshakeRate.
func (in *Inbound) handshake(
	ctx context.Context, conn *net.TCPConn, prefix []byte, config *tls.Config,
) (*sock.Conn, mesh.ID, error) {
	from := env.RemoteAddr(conn).Addr()
	if !in.handshakes.allow(from, in.env.Now()) {
		return nil, mesh.ID{}, errHandshakeRate
	}
	ctx, cancel := context.WithTimeout(ctx, in.env.Times.Handshake)
	defer cancel()
	secured, err := sock.Server(ctx, sock.New(conn, prefix), config)
	var id mesh.ID
	if err == nil {
		state, _ := secured.TLS()
		id, err = workload.PeerID(state)
	}
	if err != nil {
		in.handshakes.failed(from, in.env.Now())
		return nil, mesh.ID{}, err
	}
	return secured, id, nil
}

// refuseHandshake ends a connection whose client could not prove an identity.
func (in *Inbound) refuseHandshake(conn *net.TCPConn, origDst netip.AddrPort, err error) {
	reason := "tls_handshake"
	var peer *workload.PeerError
	switch {
	case errors.Is(err, errHandshakeRate):
		reason = "handshake_rate"
	case errors.As(err, &peer):
		reason = string(peer.Reason)
	case errors.Is(err, workload.ErrNoCertificate):
		reason = "no_certificate"
	}
	in.events.Info("mesh TLS refused", zap.Stringer("app", origDst), zap.String("reason", reason), zap.Error(err))
	in.env.Stats.ConnFailed(stats.Inbound, reason)
	if errors.Is(err, errHandshakeRate) {
		env.Reset(conn) // there is no alert
		return
	}
	_ = conn.Close() // in order, so that the client sees the alert
}
