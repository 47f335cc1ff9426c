package main

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
)

// TestCodecCounts shows that the counts are those of the decoded message.
func TestCodecCounts(t *testing.T) {
	data, err := proto.Marshal(&pb.TapEvents{
		Lost: 3, Skipped: 400,
		Events: []*pb.TapEvent{
			{Id: 1, Path: []byte("/")}, {Kind: pb.TapEvent_RESPONSE, Id: 1, Status: 200}, {Kind: pb.TapEvent_END, Id: 1},
			{Id: 2, Src: &pb.TapPeer{Pod: &pb.Pod{Name: "web"}}}, {Kind: pb.TapEvent_CLOSE},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got counts
	if err := got.read(data); err != nil {
		t.Fatal(err)
	}
	if want := (counts{Requests: 2, Events: 5, Lost: 3, Skipped: 400}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := new(counts).read(data[:len(data)-1]); err == nil {
		t.Error("a message that is cut: no error")
	}
}
