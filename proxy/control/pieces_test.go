package control

import (
	"fmt"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// crowd returns the value of a Service with n endpoints.
func crowd(n int) *pb.SubscribeResponse {
	o := service("app")
	for i := range n {
		o.Endpoints = append(o.Endpoints, mesh.Endpoint{
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 128, byte(i >> 8), byte(i)}), 8080), Identity: web, Weight: 1,
			Zone: "zone-1",
			Pod: mesh.PodRef{
				Namespace: "shop", Name: fmt.Sprintf("app-6d4cf56db6-%05d", i), ServiceAccount: "app", OwnerKind: "deployment",
				OwnerName:       "app",
				PodTemplateHash: "6d4cf56db6", ControlPlaneNS: "tulle",
			},
		})
	}
	return &pb.SubscribeResponse{Id: 7, Value: &pb.SubscribeResponse_Outbound{Outbound: api.EncodeOutbound(o)}}
}

func encoded(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestPiecesMakeTheWholeValue(t *testing.T) {
	for name, want := range map[string]*pb.SubscribeResponse{
		"nothing":             {},
		"one endpoint":        crowd(1),
		"many endpoints":      crowd(10_000),
		"an inbound policy":   {Id: 1, Value: &pb.SubscribeResponse_Inbound{Inbound: api.EncodeInbound(policy(mesh.Deny))}},
		"without an ID":       {Value: crowd(500).Value},
		"the pod's namespace": {Id: 3, Value: &pb.SubscribeResponse_Outbound{Outbound: &pb.Outbound{Authority: "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			data := encoded(t, want)
			got, pauses := crowd(3), 0 // the previous content is replaced
			if err := decodePieces(data, got, func() { pauses++ }); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Error("the pieces make another value")
			}
			if least := len(data) / (2 * pieceBytes); pauses < least {
				t.Errorf("%d pauses in %d bytes, want %d at least", pauses, len(data), least)
			}
		})
	}
}

func TestPiecesOfAValueInPartsAreMerged(t *testing.T) {
	first, second := encoded(t, crowd(400)), encoded(t, crowd(300))
	data := append(first, second...)
	var got, want pb.SubscribeResponse
	if err := proto.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if err := decodePieces(data, &got, func() {}); err != nil || !proto.Equal(&got, &want) {
		t.Errorf("%d endpoints, %v; want %d", len(got.GetOutbound().GetEndpoints()), err,
			len(want.GetOutbound().GetEndpoints()))
	}
}

// FuzzPieces compares decoding in pieces with decoding at once, for any input.
func FuzzPieces(f *testing.F) {
	f.Add(encoded(f, crowd(2)))
	f.Add(encoded(f, crowd(300)))
	f.Add([]byte{0x12, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want pb.SubscribeResponse
		err, wantErr := decodePieces(data, &got, func() {}), proto.Unmarshal(data, &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got %v, want %v", err, wantErr)
		}
		if err == nil && !proto.Equal(&got, &want) {
			t.Fatal("the pieces make another value")
		}
	})
}

// BenchmarkDecode decodes ten thousand endpoints, at once and in pieces. Requests wait for one piece at most.
func BenchmarkDecode(b *testing.B) {
	data := encoded(b, crowd(10_000))
	b.Run("at once", func(b *testing.B) {
		for b.Loop() {
			var r pb.SubscribeResponse
			if err := proto.Unmarshal(data, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("in pieces", func(b *testing.B) {
		for b.Loop() {
			var r pb.SubscribeResponse
			if err := decodePieces(data, &r, func() {}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
