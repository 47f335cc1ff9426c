package tap

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
)

// discard is a connection to a tap server that encodes what is sent.
type discard struct {
	grpc.ServerStreamingServer[pb.TapEvents]
	buf []byte
}

func (d *discard) Send(m *pb.TapEvents) (err error) {
	d.buf, err = proto.MarshalOptions{}.MarshalAppend(d.buf[:0], m)
	return err
}

// shower returns a function that does what the proxy does for a request that is shown, without the connection to the
// tap server: three events, and a message for every ten requests.
func shower(t testing.TB) func() {
	t.Helper()
	h := &Hub{self: cartPod.Pod}
	s := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
	x := charge()
	x.Response.Status = 200
	var spare backlog
	to, shown := &discard{}, 0
	return func() {
		shown++
		x.Begun = s.began.Add(time.Duration(shown) * time.Millisecond)
		r := h.Request(mesh.TapInbound, x)
		r.Common().Src = cartPod
		r.Show()
		r.End(x, Result{GRPC: -1})
		if shown%10 != 0 {
			return
		}
		spare = s.queue.take(spare)
		if err := s.send(&spare, to); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkShown(b *testing.B) {
	show := shower(b)
	b.ReportAllocs()
	for b.Loop() {
		show()
	}
}

// TestShownRequestsAllocateLittle bounds what a watched request leaves to the garbage collector: its authority, its
// path and a tenth of a message. A collection delays the requests of all, and without tap there is next to none.
func TestShownRequestsAllocateLittle(t *testing.T) {
	show := shower(t)
	for range 100 { // the buffers grow
		show()
	}
	if n := alloctest.Count(t, 1000, show); n > 4 {
		t.Errorf("got %v allocations a request, want at most 4", n)
	}
}
