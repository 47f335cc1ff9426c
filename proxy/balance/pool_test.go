package balance

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/proxy/clock"
)

func endpoints(n int) []Endpoint[int] {
	out := make([]Endpoint[int], n)
	for i := range out {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], 10<<24+uint32(i))
		out[i].Item = i
		out[i].Key = netip.AddrPortFrom(netip.AddrFrom4(ip), 80)
	}
	return out
}

func newPool(n int) *Pool[int] {
	p := &Pool[int]{}
	p.Update(endpoints(n), 0)
	return p
}

func TestSlotIsOneCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(slot{}); size != 64 {
		t.Fatalf("slot is %d bytes, want 64", size)
	}
}

func TestPickPrefersTheFaster(t *testing.T) {
	p := newPool(2)
	now := clock.Instant(time.Second)
	var count [2]int
	for range 1000 {
		s, item, ok := p.Pick(now)
		if !ok {
			t.Fatal("no endpoint")
		}
		count[item]++
		latency := time.Millisecond
		if item == 1 {
			latency = 100 * time.Millisecond
		}
		now = now.Add(time.Millisecond)
		p.Done(s, Responded, now, latency)
	}
	if count[1] > 10 {
		t.Fatalf("slow endpoint got %d of 1000", count[1])
	}
}

func TestPickSpreadsByWorkInFlight(t *testing.T) {
	p := newPool(10)
	var count [10]int
	for range 1000 {
		_, item, _ := p.Pick(0)
		count[item]++
	}
	for i, n := range count {
		if n < 90 || n > 110 {
			t.Errorf("endpoint %d has %d of 1000 in flight, want about 100", i, n)
		}
	}
}

func TestPickHonoursWeight(t *testing.T) {
	p := &Pool[int]{}
	list := endpoints(2)
	list[0].Weight, list[1].Weight = 1, 3
	p.Update(list, 0)
	var count [2]int
	for range 1000 {
		_, item, _ := p.Pick(0)
		count[item]++
	}
	if count[1] < 740 || count[1] > 760 {
		t.Fatalf("weight 3 against 1 got %d of 1000", count[1])
	}
}

func TestPickSkipsUnreachableWhileOthersLive(t *testing.T) {
	p := newPool(3)
	now := clock.Instant(time.Second)
	tries := 0
	for range 1000 {
		s, item, _ := p.Pick(now)
		if item == 0 {
			tries++
			p.Done(s, Unreachable, now, 0)
		} else {
			p.Done(s, Responded, now, time.Millisecond)
		}
		now = now.Add(time.Millisecond)
	}
	// In a second: at once, and then after back-offs of at most 100, 200, 400 ms. At least half of each is fixed.
	if tries < 2 || tries > 6 {
		t.Fatalf("unreachable endpoint was tried %d times in a second", tries)
	}
}

func TestPickFindsTheOnlyReachable(t *testing.T) {
	p := newPool(100)
	now := clock.Instant(time.Second)
	for range 10000 {
		s, item, _ := p.Pick(now)
		if item != 42 {
			p.Done(s, Unreachable, now, 0)
			continue
		}
		p.Done(s, Connected, now, 0)
	}
	s, item, _ := p.Pick(now)
	if item != 42 {
		t.Fatalf("picked %d although only 42 is reachable", item)
	}
	p.Done(s, Connected, now, 0)
	if got := p.Available(now); got != 1 {
		t.Fatalf("%d available, want 1", got)
	}
}

func TestPickOtherLeavesTheOneThatFailed(t *testing.T) {
	for n := range 4 {
		p := newPool(n + 1)
		now := clock.Instant(time.Second)
		for range 200 {
			s, failed, _ := p.Pick(now)
			p.Done(s, Failed, now, time.Microsecond)
			again, item, _ := p.PickOther(now, s)
			if item == failed != (n == 0) {
				t.Fatalf("of %d endpoints, %d is chosen after %d", n+1, item, failed)
			}
			p.Done(again, Responded, now, time.Millisecond)
			now = now.Add(time.Millisecond)
		}
		s, _, _ := p.Pick(now)
		p.Update(nil, now)
		p.Done(s, Failed, now, 0)
		if _, _, ok := p.PickOther(now, s); ok {
			t.Error("an endpoint that is gone was chosen")
		}
	}
}

func TestUnreachableIsProbedByOneAndComesBack(t *testing.T) {
	p := newPool(2)
	for { // make endpoint 0 unreachable
		s, item, _ := p.Pick(0)
		if item == 0 {
			p.Done(s, Unreachable, 0, 0)
			break
		}
		p.Done(s, Abandoned, 0, 0)
	}
	now := clock.Instant(MinBackoff)
	var probe *Slot
	for range 100 {
		if s, item, _ := p.Pick(now); item == 0 {
			if probe != nil {
				t.Fatal("two probes at once")
			}
			probe = &s
		}
	}
	if probe == nil {
		t.Fatal("never probed")
	}
	p.Done(*probe, Connected, now, 0)
	if got := p.Available(now); got != 2 {
		t.Fatalf("%d available after the probe succeeded, want 2", got)
	}
}

func TestAllUnreachableStillPicks(t *testing.T) {
	p := newPool(2)
	for range 10 {
		s, _, ok := p.Pick(0)
		if !ok {
			t.Fatal("nothing picked")
		}
		p.Done(s, Unreachable, 0, 0)
	}
}

// TestBackoffDoesNotAddUp sends many requests to an endpoint in back-off, because there is no other. Each is a probe,
// but the endpoint must not be in back-off for the sum of them.
func TestBackoffDoesNotAddUp(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		endpoints int
		abandoned bool // the requests end without a result; otherwise they are still in flight
		available time.Duration
	}{
		"one endpoint, requests abandoned":  {1, true, second + MinBackoff},
		"two endpoints, requests abandoned": {2, true, second + MinBackoff},
		"one endpoint, requests in flight":  {1, false, second + MaxBackoff},
		"two endpoints, requests in flight": {2, false, second + MaxBackoff},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(test.endpoints)
			for p.Available(0) > 0 {
				s, _, _ := p.Pick(0)
				p.Done(s, Unreachable, 0, 0)
			}
			for range 1000 {
				s, _, _ := p.Pick(clock.Instant(second))
				if test.abandoned {
					p.Done(s, Abandoned, clock.Instant(second), 0)
				}
			}
			if got := p.Available(clock.Instant(test.available)); got != test.endpoints {
				t.Errorf("%d endpoints are not in back-off after %v, want %d", got, test.available, test.endpoints)
			}
		})
	}
}

func TestUpdateKeepsWhatWasLearned(t *testing.T) {
	p := newPool(3)
	s, item, _ := p.Pick(0)
	p.Done(s, Unreachable, 0, 0)
	list := endpoints(3)
	list[0], list[2] = list[2], list[0]
	p.Update(list, 0)
	for range 100 {
		_, got, _ := p.Pick(0)
		if got == item {
			t.Fatal("unreachable endpoint picked after the list was reordered")
		}
	}
}

func TestRemovedEndpointMayEndLater(t *testing.T) {
	p := newPool(1)
	s, _, _ := p.Pick(0)
	p.Update(nil, 0)
	if _, _, ok := p.Pick(0); ok {
		t.Fatal("picked from nothing")
	}
	p.Update(endpoints(2)[1:], 0)
	p.Done(s, Responded, 0, time.Second)
	s2, item, ok := p.Pick(0)
	if !ok || item != 1 {
		t.Fatalf("got item %d, %v", item, ok)
	}
	p.Done(s2, Responded, 0, time.Second)
	if len(p.slots) != 2 || len(p.free) != 1 {
		t.Fatalf("%d slots, %d free; want the removed one to be free", len(p.slots), len(p.free))
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	p := newPool(100)
	now := clock.Instant(0)
	if n := alloctest.Count(t, 1000, func() {
		s, _, _ := p.Pick(now)
		now = now.Add(time.Millisecond)
		p.Done(s, Responded, now, time.Millisecond)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{2, 10_000} {
		p := newPool(n)
		b.Run(map[int]string{2: "2", 10_000: "10k"}[n], func(b *testing.B) {
			b.ReportAllocs()
			now := clock.Instant(0)
			for b.Loop() {
				s, _, _ := p.Pick(now)
				now = now.Add(time.Microsecond)
				p.Done(s, Responded, now, time.Millisecond)
			}
		})
	}
}

func BenchmarkUpdate10k(b *testing.B) {
	p, list := newPool(10_000), endpoints(10_000)
	b.ReportAllocs()
	for b.Loop() {
		p.Update(list, 0)
	}
}
