package inbound

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

func TestAnsweredAddressesAreBounded(t *testing.T) {
	var s listening
	addr := func(i int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i)) }
	for i := range 2 * stats.MaxAnswered {
		s.add(addr(i), clock.Instant(i)*clock.Instant(time.Second))
	}
	if len(s.last) != stats.MaxAnswered || !s.has(addr(0)) || s.has(addr(stats.MaxAnswered)) {
		t.Errorf("%d addresses, want the first %d", len(s.last), stats.MaxAnswered)
	}
	later := clock.Instant(listeningIdle + time.Second)
	s.add(addr(0), later)
	s.add(addr(1000), later) // in the place of the address 1, the only one that is idle for long
	if !s.has(addr(0)) || s.has(addr(1)) || !s.has(addr(1000)) || len(s.last) != stats.MaxAnswered {
		t.Errorf("an address that answers does not take the place of one that is idle: %v", s.last)
	}
}
