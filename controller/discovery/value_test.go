package discovery

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestSharedBytesAreTheMessage holds the codec's bytes against the ones protobuf makes of the whole message.
func TestSharedBytesAreTheMessage(t *testing.T) {
	out := &mesh.Outbound{Kind: mesh.ToService, Authority: "web.shop.svc.cluster.local:80",
		Endpoints: []mesh.Endpoint{{Addr: target(9).Addr}}}
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
