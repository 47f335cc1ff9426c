package inbound

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/limit"
)

// errHandshakeRate ends a connection without a handshake: too many of its address failed. A handshake costs the proxy a
// signature and a key exchange, and the client that breaks it off next to nothing.
var errHandshakeRate = errors.New("too many failed handshakes from this address")

// Bounds of failed handshakes of one address: handshakeBurst at once, and one each handshakeCost.
const (
	handshakeBurst = 200
	handshakeCost  = 10 * time.Millisecond
)

// failedHandshakes bounds the work of handshakes that prove nothing, for each address. An address of IPv6 counts alone:
// the pods of a node often share a /64. Handshakes that succeed cost nothing. The failures of at most limit.MaxBuckets
// addresses are remembered. Others are not bounded, so that a stranger of many addresses cannot lock honest ones out.
// The zero value is ready.
type failedHandshakes struct {
	mu      sync.Mutex // guards the fields below
	buckets limit.Buckets[netip.Addr]
}

// allow reports whether addr may begin a handshake at now.
func (f *failedHandshakes) allow(addr netip.Addr, now time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buckets.Find(addr).Wait(now) <= 0
}

// failed counts a failure of addr at now.
func (f *failedHandshakes) failed(addr netip.Addr, now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buckets.Open(addr, limit.Rate{Cost: handshakeCost, Burst: handshakeBurst * handshakeCost}, now).Take(now)
}
