package proxy

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// errHandshakeRate ends a connection without a handshake: too many of its address failed. A handshake costs the proxy a signature and a
// key exchange, and the client that breaks it off next to nothing.
var errHandshakeRate = errors.New("too many failed handshakes from this address")

// Bounds of failed handshakes of one address: handshakeBurst at once, and one each handshakeCost. The failures of at most handshakeAddresses are
// remembered; others are not bounded, so that a stranger of many addresses cannot lock honest ones out.
const (
	handshakeBurst     = 200
	handshakeCost      = 10 * time.Millisecond
	handshakeAddresses = 4096
)

// failedHandshakes bounds the work of handshakes that prove nothing, for each address. An address of IPv6 counts alone: the pods of a node
// often share a /64. Handshakes that succeed cost nothing. The zero value is ready.
type failedHandshakes struct {
	mu    sync.Mutex                   // guards the fields below
	clear map[netip.Addr]time.Duration // when the failures of an address are forgotten
	swept time.Duration
}

// allow reports whether addr may begin a handshake at now.
func (f *failedHandshakes) allow(addr netip.Addr, now time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clear[addr]-now < handshakeBurst*handshakeCost
}

// failed counts a failure of addr at now.
func (f *failedHandshakes) failed(addr netip.Addr, now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clear == nil {
		f.clear = map[netip.Addr]time.Duration{}
	}
	if len(f.clear) >= handshakeAddresses && now-f.swept > time.Second {
		f.swept = now
		for a, clear := range f.clear {
			if clear <= now {
				delete(f.clear, a)
			}
		}
	}
	if _, known := f.clear[addr]; known || len(f.clear) < handshakeAddresses {
		f.clear[addr] = max(f.clear[addr], now) + handshakeCost
	}
}
