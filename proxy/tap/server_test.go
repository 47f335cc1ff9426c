package tap

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// fakeStream is the connection to a tap server that reads everything.
type fakeStream struct {
	grpc.ServerStreamingServer[pb.TapEvents]
	ctx  context.Context
	sent []int // events of each message
}

func (f *fakeStream) Context() context.Context { return f.ctx }

func (f *fakeStream) Send(m *pb.TapEvents) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	events, err := api.UnmarshalTapEvents(data)
	f.sent = append(f.sent, len(events.Events))
	return err
}

// TestEventsTravelTogether shows that an event waits for those that soon follow, that a subscriber that is behind gets
// them without further waits, and that events of a burst do not wait.
func TestEventsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hub{}
		s := h.subscribe(mesh.TapQuery{})
		ctx, cancel := context.WithCancel(t.Context())
		f := &fakeStream{ctx: ctx}
		ended := make(chan error)
		go func() { ended <- (&Server{}).stream(s, nil, f) }()
		offer := func(n int) {
			for range n {
				s.offer(&mesh.TapEvent{})
			}
		}
		offer(1)
		time.Sleep(flushAfter / 2)
		offer(2)
		time.Sleep(flushAfter)
		offer(2*batchEvents + 1)
		time.Sleep(flushAfter + time.Nanosecond)
		offer(fullEvents)
		synctest.Wait() // no time passes
		cancel()
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("got %v, want Canceled", err)
		}
		want := append([]int{3, batchEvents, batchEvents, 1}, slices.Repeat([]int{batchEvents}, fullEvents/batchEvents)...)
		if !slices.Equal(f.sent, want) {
			t.Errorf("got messages of %v events, want %v", f.sent, want)
		}
	})
}
