package inbound

import (
	"net/netip"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// listeningIdle is how long an address must be idle before another one may replace it.
const listeningIdle = 10 * time.Minute

// listening remembers the addresses where an application accepted a connection, and when it did last.
type listening struct {
	mu   sync.Mutex // guards the field below
	last map[netip.AddrPort]clock.Instant
}

// add remembers that an application answered at addr at now. If there are too many addresses, it replaces one that has
// been idle for listeningIdle.
func (s *listening) add(addr netip.AddrPort, now clock.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.last[addr]; !known && len(s.last) >= stats.MaxAnswered && !s.forget(now) {
		return
	}
	if s.last == nil {
		s.last = map[netip.AddrPort]clock.Instant{}
	}
	s.last[addr] = now
}

func (s *listening) forget(now clock.Instant) bool {
	for addr, last := range s.last {
		if now.Sub(last) >= listeningIdle {
			delete(s.last, addr)
			return true
		}
	}
	return false
}

func (s *listening) has(addr netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.last[addr]
	return ok
}

// appName returns how labels name an original destination. An address has a name of its own only if the pod
// declares it, or an application answered there.
func (in *Inbound) appName(addr netip.AddrPort) stats.App {
	self := &in.env.Self
	declared := self.Local || in.policy.Load().Declares(addr.Port()) && (len(self.IPs) == 0 || self.OwnsAddr(addr.Addr()))
	if !declared && !in.listening.has(addr) {
		return stats.OtherApp
	}
	return stats.NewApp(addr)
}
