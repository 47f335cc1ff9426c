package api

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestTapQueryRoundTrip(t *testing.T) {
	for name, q := range map[string]mesh.TapQuery{
		"everything": {},
		"all fields": {
			Direction: mesh.TapOutbound, Method: "GET", Scheme: "https", Authority: "cart:80", PathPrefix: "/a",
			To: mesh.TapDestination{Namespace: "shop", Kind: "deployment", Name: "cart"}, Headers: true, PerSecond: 1000,
		},
	} {
		var wire pb.TapQuery
		throughBytes(t, EncodeTapQuery(q), &wire)
		got, err := DecodeTapQuery(&wire)
		if diff := cmp.Diff(q, got); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestTapQueryFailsClosed shows that a query is refused if the proxy does not understand all of it.
func TestTapQueryFailsClosed(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	query := func(q *pb.TapQuery, more []byte) *pb.TapQuery {
		b, err := proto.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var out pb.TapQuery
		if err := proto.Unmarshal(append(b, more...), &out); err != nil {
			t.Fatal(err)
		}
		return &out
	}
	to := protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), unknown)
	for name, q := range map[string]*pb.TapQuery{
		"unknown direction":              {Direction: 3},
		"unknown field":                  query(&pb.TapQuery{Method: "GET"}, unknown),
		"unknown field of a destination": query(&pb.TapQuery{}, to),
		"rate beyond the bound":          {PerSecond: mesh.MaxTapRate + 1},
	} {
		if got, err := DecodeTapQuery(q); err == nil || !strings.HasPrefix(err.Error(), "decode tap query: ") {
			t.Errorf("%s: got %v, %v; want an error", name, got, err)
		}
	}
}

func TestTapEventsRoundTrip(t *testing.T) {
	events := mesh.TapEvents{Lost: 3, Skipped: 4, Events: []mesh.TapEvent{
		{GRPCStatus: -1},
		{
			Kind: mesh.TapEnd, ID: 7, At: time.Unix(5, 6), Direction: mesh.TapInbound, TLS: "true",
			Src: mesh.TapPeer{Addr: netip.MustParseAddrPort("10.0.0.1:80"), ID: mesh.ID{
				TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}},
			Dst: mesh.TapPeer{
				Addr: netip.MustParseAddrPort("[fd00::1]:80"), Pod: mesh.PodRef{Namespace: "shop", Name: "cart-1"},
				Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
			},
			Route: mesh.Ref{Kind: "HTTPRoute", Name: "r"}, Server: mesh.Ref{Kind: "Server", Name: "s"},
			Authorization: mesh.Ref{Kind: "AuthorizationPolicy", Name: "a"},
			Method:        "GET", Scheme: "http", Authority: "cart", Path: "/\xff",
			Headers: []mesh.TapHeader{{Name: "a", Value: "\x80"}}, Status: 200, Since: 1, SinceResponse: 2, RequestBytes: 3,
			ResponseBytes: 4, GRPCStatus: 14, Error: "reset", Attempts: 2, HeadersOmitted: 9,
		},
	}}
	data, err := proto.Marshal(&pb.TapEvents{Lost: events.Lost, Skipped: events.Skipped})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events.Events {
		data = AppendTapEvent(data, &events.Events[i], true)
	}
	got, err := UnmarshalTapEvents(data)
	if diff := cmp.Diff(events, got, compareAddrs); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	bare, err := UnmarshalTapEvents(AppendTapEvent(nil, &events.Events[1], false))
	if err != nil || bare.Events[0].Headers != nil || bare.Events[0].HeadersOmitted != 0 {
		t.Errorf("headers that are not wanted: got %+v, error %v", bare, err)
	}
}

// TestAppendTapEventHasAllFields shows that an event is encoded as package pb would encode it, and leaves out no field
// of any message.
func TestAppendTapEventHasAllFields(t *testing.T) {
	peer := func(addr string) mesh.TapPeer {
		return mesh.TapPeer{
			Addr: netip.MustParseAddrPort(addr), ID: mesh.ID{TrustDomain: "t", Namespace: "n", ServiceAccount: "s"},
			Pod: mesh.PodRef{
				Namespace: "shop", Name: "cart-1", ServiceAccount: "cart", OwnerKind: "deployment", OwnerName: "cart",
				PodTemplateHash: "5d8", ControlPlaneNS: "tulle",
			},
			Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
		}
	}
	ref := func(kind string) mesh.Ref { return mesh.Ref{Group: "g", Kind: kind, Namespace: "shop", Name: "r"} }
	e := &mesh.TapEvent{
		Kind: mesh.TapEnd, ID: 1 << 40, At: time.Unix(5, 6), Direction: mesh.TapOutbound, TLS: "true",
		Src: peer("10.0.0.1:80"), Dst: peer("[fd00::1]:80"),
		Route: ref("HTTPRoute"), Server: ref("Server"), Authorization: ref("AuthorizationPolicy"),
		Method: "GET", Scheme: "http", Authority: "cart", Path: strings.Repeat("a", 300),
		Headers: []mesh.TapHeader{{Name: "a", Value: strings.Repeat("b", 200)}}, Status: 200, Since: -1, SinceResponse: 2,
		RequestBytes: 3, ResponseBytes: 4, GRPCStatus: -1, Error: "reset", Attempts: 2, HeadersOmitted: 9,
	}
	encoded := AppendTapEvent(nil, e, true)
	var wire pb.TapEvents
	if err := proto.Unmarshal(encoded, &wire); err != nil {
		t.Fatal(err)
	}
	for _, m := range []proto.Message{
		wire.GetEvents()[0], wire.GetEvents()[0].GetHeaders()[0], wire.GetEvents()[0].GetRoute(),
		wire.GetEvents()[0].GetDst(), wire.GetEvents()[0].GetDst().GetAddress(), wire.GetEvents()[0].GetDst().GetPod(),
		wire.GetEvents()[0].GetDst().GetService(),
	} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if !m.ProtoReflect().Has(fields.Get(i)) {
				t.Errorf("%s is not encoded", fields.Get(i).FullName())
			}
		}
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(&wire)
	if err != nil || len(again) != len(encoded) {
		t.Errorf("got %d bytes, package pb encodes %d, error %v", len(encoded), len(again), err)
	}
}

// TestAppendTapEventDoesNotAllocate shows that an event costs no memory if the buffer has room.
func TestAppendTapEventDoesNotAllocate(t *testing.T) {
	e := &mesh.TapEvent{
		At: time.Unix(5, 6), Path: "/", Headers: []mesh.TapHeader{{Name: "a", Value: "b"}},
		Src: mesh.TapPeer{Addr: netip.MustParseAddrPort("[fd00::1]:80"), ID: mesh.ID{TrustDomain: "cluster.local",
			Namespace: "shop", ServiceAccount: "web"}, Pod: mesh.PodRef{Name: strings.Repeat("a", 200)}},
	}
	buf := make([]byte, 0, 1<<10)
	if n := alloctest.Count(t, 100, func() { buf = AppendTapEvent(buf[:0], e, true) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func TestTapEventsRefused(t *testing.T) {
	for name, e := range map[string]*pb.TapEvent{
		"kind":      {Kind: 5},
		"direction": {Direction: 9},
		"status":    {Status: 1000},
		"address":   {Src: &pb.TapPeer{Address: nil, Identity: "root"}},
		"identity":  {Dst: &pb.TapPeer{Identity: "web.shop"}},
	} {
		if got, err := DecodeTapEvents(&pb.TapEvents{Events: []*pb.TapEvent{e}}); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

// TestTapEventsBeyondTheBounds shows that a message which no proxy of this project sends is refused, and that one with
// many empty parts is refused before it is decoded.
func TestTapEventsBeyondTheBounds(t *testing.T) {
	long := []byte(strings.Repeat("a", mesh.MaxTapText+4))
	header := func(n int) *pb.TapHeader { return &pb.TapHeader{Name: []byte("a"), Value: long[:n]} }
	name := strings.Repeat("a", maxTapName+1)
	for want, e := range map[string]*pb.TapEvent{
		"a text of 2052 bytes":      {Path: long},
		"more than 64 headers":      {Headers: slices.Repeat([]*pb.TapHeader{header(0)}, 65)},
		"the headers are too long":  {Headers: slices.Repeat([]*pb.TapHeader{header(2048)}, 5)},
		"the headers are too long ": {Headers: []*pb.TapHeader{header(2052)}},
		"a name of 513 bytes":       {Dst: &pb.TapPeer{Pod: &pb.Pod{Name: name}}},
		"a name of 513 bytes ":      {Error: name},
		"a name of 513 bytes  ":     {Route: &pb.Ref{Name: name}},
		"an identity of 2049 bytes": {Src: &pb.TapPeer{Identity: strings.Repeat("a", mesh.MaxTapText+1)}},
	} {
		data, err := proto.Marshal(&pb.TapEvents{Events: []*pb.TapEvent{e}})
		if err != nil {
			t.Fatal(err)
		}
		want = strings.TrimSpace(want)
		if _, err := UnmarshalTapEvents(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	empty := func(n int) []byte { return bytes.Repeat([]byte{0x0a, 0}, n) }
	if _, err := UnmarshalTapEvents(empty(mesh.MaxTapEvents)); err != nil {
		t.Errorf("64 events: %v", err)
	}
	for _, n := range []int{mesh.MaxTapEvents + 1, mesh.MaxTapMessage/2 + 1} {
		data := empty(n)
		if _, err := UnmarshalTapEvents(data); err == nil {
			t.Errorf("%d events: no error", n)
		}
	}
}
