package tap

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// BenchmarkShown is what the proxy does for a request that is shown, without the connection to the tap server: three
// events, and their encoding in messages of up to 64.
func BenchmarkShown(b *testing.B) {
	h := &Hub{self: cartPod.Pod}
	s := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
	x := charge()
	x.Response.Status = 200
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.Begun = s.began.Add(time.Duration(i) * time.Millisecond)
		r := h.Request(mesh.TapInbound, x)
		r.Common().Src = cartPod
		r.Show()
		r.End(x, Result{GRPC: -1})
		for len(s.queue) >= batchEvents {
			var out pb.TapEvents
			s.batch(<-s.queue, &out)
			if _, err := proto.Marshal(&out); err != nil {
				b.Fatal(err)
			}
		}
	}
}
