package controller

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// Bounds of what an attack on the controller may cost others. What is measured is a tenth of them on a machine that
// does nothing else.
const (
	honestBound = 5 * time.Second // p99 of a route's change until an honest proxy has it
	heapBound   = 128 << 20       // what stays on the heap after the attack
)

// honestChanges changes the route of Service 0, which the first stream watches, until stop, and returns how long each
// took to arrive.
func honestChanges(t *testing.T, s *streams, w world, stop *atomic.Bool) (took []time.Duration) {
	t.Helper()
	for n := 2; !stop.Load() || len(took) < 10; n++ {
		began := time.Now()
		s.apply(w.route(0, 1+n%100))
		if _, err := s.all[0].Recv(); err != nil {
			t.Fatalf("honest proxy: %v", err)
		}
		took = append(took, time.Since(began))
		time.Sleep(5 * time.Millisecond) // the rate of honest changes
	}
	slices.Sort(took)
	return took
}

func watchHonest(t *testing.T, s *streams) {
	t.Helper()
	target := mesh.Target{Addr: netip.AddrPortFrom(worldIP(0), 80)}
	watch := &pb.Watch{Id: 1, Outbound: api.EncodeTarget(target)}
	if err := s.all[0].Send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{Watch: watch}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.all[0].Recv(); err != nil {
		t.Fatal(err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A proxy that is taken over asks for 100,000 names. Its stream ends at the bound, and others hear of changes
// meanwhile.
func TestOneProxyThatWatchesAHundredThousandNames(t *testing.T) {
	w := world{services: 200, routes: 100}
	f, _ := worldOf(t, w)
	s := connect(t, f, 2)
	watchHonest(t, s)
	before := heap()
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		defer stop.Store(true)
		attacker := s.all[1]
		received := make(chan error, 1)
		go func() {
			for {
				if _, err := attacker.Recv(); err != nil {
					received <- err
					return
				}
			}
		}()
		for i := range 100_000 {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16 + byte(i>>16), byte(i >> 8), byte(i)}), 80)
			watch := &pb.Watch{Id: uint64(i + 1), Outbound: api.EncodeTarget(mesh.Target{Addr: addr})}
			if attacker.Send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{Watch: watch}}) != nil {
				break // Recv says why
			}
		}
		ended <- <-received
	}()
	took := honestChanges(t, s, w, &stop)
	if err := <-ended; status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the stream ended with %v, want ResourceExhausted", err)
	}
	report(t, took, before)
	f.look(func(table *table) {
		if got := len(table.answers); got > 10 {
			t.Errorf("%d answers are kept after the attacker's stream ended, want those of the honest proxy alone", got)
		}
	})
}

// A tenant makes 10,000 HTTPRoutes. Others hear of changes meanwhile.
func TestTenThousandRoutes(t *testing.T) {
	const many = 10_000
	w := world{services: 200, routes: 100}
	f, _ := worldOf(t, w)
	s := connect(t, f, 1)
	watchHonest(t, s)
	before := heap()
	var stop atomic.Bool
	go func() {
		defer stop.Store(true)
		for i := range many {
			route := w.route(100+i%100, 1) // on Services of the tenant, a hundred routes each
			route.Name, route.UID = fmt.Sprint("tenant-", i), ""
			route.Spec.Rules = slices.Repeat(route.Spec.Rules, 2)
			exact := gatewayv1.PathMatchExact
			for r := range route.Spec.Rules {
				path := fmt.Sprintf("/%d/%d", i, r)
				route.Spec.Rules[r].Matches = []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: &exact,
					Value: &path}}}
			}
			f.apply(route)
		}
	}()
	took := honestChanges(t, s, w, &stop)
	report(t, took, before)
	f.waitForLoop()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := len(f.outcomes); got < many {
		t.Errorf("%d statuses, want one of each of the %d routes", got, many)
	}
}

// report checks and prints what an attack cost.
func report(t *testing.T, took []time.Duration, before uint64) {
	t.Helper()
	p99, grown := took[len(took)*99/100], int64(heap())-int64(before)
	t.Logf("%d honest changes, p50 %s, p99 %s; heap %+.1f MiB", len(took), took[len(took)/2].Round(10*time.Microsecond),
		p99.Round(10*time.Microsecond), float64(grown)/(1<<20))
	if p99 > honestBound {
		t.Errorf("p99 of honest changes is %s, want at most %s", p99, honestBound)
	}
	if grown > heapBound {
		t.Errorf("the heap grew by %d bytes, want at most %d", grown, heapBound)
	}
}
