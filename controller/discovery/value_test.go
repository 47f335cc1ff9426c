package discovery

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestSharedBytesAreTheMessage holds the codec's bytes against the ones protobuf makes of the whole message.
func TestSharedBytesAreTheMessage(t *testing.T) {
	out := &mesh.Outbound{Kind: mesh.ToService, Authority: "web.shop.svc.cluster.local:80", Endpoints: []mesh.Endpoint{{Addr: target(9).Addr}}}
	in := &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Audit}, OpaquePorts: mesh.PortSet{{First: 25, Last: 25}}}
	for _, id := range []uint64{0, 1, 1 << 60} {
		for value, want := range map[*Value]*pb.SubscribeResponse{
			{Outbound: out}:              {Id: id, Value: &pb.SubscribeResponse_Outbound{Outbound: api.EncodeOutbound(out)}},
			{Outbound: &mesh.Outbound{}}: {Id: id, Value: &pb.SubscribeResponse_Outbound{Outbound: &pb.Outbound{}}},
			{Inbound: in}:                {Id: id, Value: &pb.SubscribeResponse_Inbound{Inbound: api.EncodeInbound(in)}},
		} {
			data, err := newCodec().Marshal(&response{id: id, value: value})
			if err != nil {
				t.Fatal(err)
			}
			var got pb.SubscribeResponse
			if err := proto.Unmarshal(data.Materialize(), &got); err != nil || !proto.Equal(&got, want) {
				t.Errorf("got %v, %v; want %v", &got, err, want)
			}
		}
	}
}

// BenchmarkSend is what one more stream costs when a value of n endpoints changes: it must not depend on n.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint("endpoints=", n), func(b *testing.B) {
			out := &mesh.Outbound{Kind: mesh.ToService}
			for i := range n {
				out.Endpoints = append(out.Endpoints, mesh.Endpoint{Addr: target(i).Addr, Identity: webID})
			}
			r, c := &response{id: 7, value: &Value{Outbound: out}}, newCodec()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Marshal(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
