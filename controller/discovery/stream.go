package discovery

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// watchRate is how many targets a second one proxy may begin to watch for long; its first MaxWatches are free, for a
// proxy that reconnects brings all it has.
const watchRate = 500

// stream is one proxy's stream. One goroutine receives, and the RPC's own sends.
type stream struct {
	server *Server
	rpc    grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]
	// first takes the Hello, and ended the receiver's error. The receiver sends to each once at most, hence the
	// capacity of 1.
	first chan *pb.Hello
	ended chan error
	// client is given to the receiver when the proxy has been admitted.
	client chan mesh.Client
	// wake tells the sender that dirty may not be empty.
	wake latest.Signal

	mu      sync.Mutex // guards the fields below
	watches map[uint64]*watch
	dirty   []*watch
	closed  bool
}

// watch is one target of a stream. The receiver's goroutine makes it; id, cell and stop never change after that.
type watch struct {
	id   uint64
	cell *latest.Cell[*Value]
	// stop is called once: by unwatch, by close, or by the receiver if the stream closed meanwhile.
	stop func()
	// sent is the sequence number of the value sent last, and due when the next may follow; resting says that the watch
	// is marked then. Only the sender uses them.
	sent    uint64
	due     time.Time
	resting bool
	// dirty says that the watch is in the stream's list, and ended that it must not be sent; guarded by the stream's
	// mu.
	dirty, ended bool
}

func newStream(s *Server, rpc grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) *stream {
	return &stream{
		server: s, rpc: rpc, watches: map[uint64]*watch{},
		first: make(chan *pb.Hello, 1), ended: make(chan error, 1), client: make(chan mesh.Client,
			1), wake: latest.NewSignal(),
	}
}

// hello waits for the first message.
func (st *stream) hello(timeout time.Duration) (*pb.Hello, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case h := <-st.first:
		return h, nil
	case err := <-st.ended:
		return nil, err
	case <-timer.C:
		return nil, refuse(noHello, codes.DeadlineExceeded, "no hello within %v", timeout)
	case <-st.server.ending:
		return nil, errEnding
	}
}

var errEnding = status.Error(codes.Unavailable, "the server ends; connect to another")

// serve sends values until the stream ends.
func (st *stream) serve(client mesh.Client) error {
	defer st.close()
	st.client <- client
	for {
		select {
		case <-st.wake:
			for _, w := range st.takeDirty() {
				if err := st.send(w); err != nil {
					return err
				}
			}
		case err := <-st.ended:
			return err
		case <-st.server.ending:
			return errEnding
		}
	}
}

func (st *stream) send(w *watch) error {
	value, seq := w.cell.Load()
	if seq == w.sent {
		return nil
	}
	if pause := time.Until(w.due); pause > 0 {
		if !w.resting {
			w.resting = true
			time.AfterFunc(pause, func() { st.mark(w) })
		}
		return nil
	}
	w.sent, w.resting = seq, false
	kind := "outbound"
	if value.Inbound != nil {
		kind = "inbound"
	}
	st.server.metrics.values.WithLabelValues(kind).Inc()
	if err := st.rpc.SendMsg(&response{id: w.id, value: value}); err != nil {
		return err
	}
	if pause := value.pause(st.server.config.ValueRate); pause >= minPause {
		w.due = time.Now().Add(pause)
	}
	return nil
}

// minPause is the shortest that is kept: small values are not worth a timer.
const minPause = 10 * time.Millisecond

// takeDirty returns the watches that have something new. From here on each may become dirty again.
func (st *stream) takeDirty() []*watch {
	st.mu.Lock()
	defer st.mu.Unlock()
	taken := st.dirty
	st.dirty = nil
	out := taken[:0]
	for _, w := range taken {
		w.dirty = false
		if !w.ended {
			out = append(out, w)
		}
	}
	return out
}

// mark notes that w has something new. The goroutine that stores the value calls it, or the timer of a watch that
// rested, maybe after the end of either; it never blocks.
func (st *stream) mark(w *watch) {
	st.mu.Lock()
	if !w.dirty && !w.ended {
		w.dirty = true
		st.dirty = append(st.dirty, w)
	}
	st.mu.Unlock()
	st.wake.Notify()
}

// receive handles what the proxy sends. It ends when the RPC has ended, which is why the RPC does not wait for it but
// the server.
func (st *stream) receive() {
	err := st.receiveAll()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	st.ended <- err
}

func (st *stream) receiveAll() error {
	ctx := st.rpc.Context()
	message, err := st.rpc.Recv()
	if err != nil {
		return err
	}
	hello := message.GetHello()
	if hello == nil {
		return refuse(noHello, codes.InvalidArgument, "the first message is not hello")
	}
	st.first <- hello
	var client mesh.Client
	select {
	case client = <-st.client:
	case <-ctx.Done():
		return ctx.Err()
	}
	limit := rate.NewLimiter(watchRate, st.server.config.MaxWatches)
	for {
		message, err := st.rpc.Recv()
		if err != nil {
			return err
		}
		switch m := message.GetMessage().(type) {
		case *pb.SubscribeRequest_Watch:
			if err := limit.Wait(ctx); err != nil {
				return err
			}
			err = st.watch(ctx, client, m.Watch)
		case *pb.SubscribeRequest_Unwatch:
			st.unwatch(m.Unwatch)
		case *pb.SubscribeRequest_Hello:
			err = refuse(badRequest, codes.InvalidArgument, "a second hello")
		} // A message that this release does not know asks for nothing that it could give.
		if err != nil {
			return err
		}
	}
}

func (st *stream) watch(ctx context.Context, client mesh.Client, m *pb.Watch) error {
	target, err := api.DecodeTarget(m.GetOutbound())
	if err != nil {
		return refuse(badRequest, codes.InvalidArgument, "watch %d: %v", m.GetId(), err)
	}
	st.mu.Lock()
	n, taken := len(st.watches), st.watches[m.GetId()] != nil
	st.mu.Unlock()
	if taken {
		return refuse(badRequest, codes.InvalidArgument, "watch %d is in use", m.GetId())
	}
	if n >= st.server.config.MaxWatches {
		return refuse(tooManyWatches, codes.ResourceExhausted, "%d targets are watched already", n)
	}
	cell, stopSource, err := st.server.source.Watch(ctx, client, target)
	if err != nil {
		return err
	}
	w := &watch{id: m.GetId(), cell: cell}
	stopFollow := cell.Follow(func() { st.mark(w) })
	w.stop = func() { stopFollow(); stopSource() }
	if !st.add(w) {
		w.stop()
	}
	return nil
}

// add returns false if the stream has ended meanwhile.
func (st *stream) add(w *watch) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return false
	}
	st.watches[w.id] = w
	st.server.metrics.watches.Inc()
	return true
}

// unwatch ends a watch; one that is not there has nothing to end.
func (st *stream) unwatch(id uint64) {
	st.mu.Lock()
	w := st.watches[id]
	if w != nil {
		w.ended = true
		delete(st.watches, id)
	}
	st.mu.Unlock()
	if w != nil {
		w.stop()
		st.server.metrics.watches.Dec()
	}
}

// close ends every watch, and every one that the receiver would still add.
func (st *stream) close() {
	st.mu.Lock()
	st.closed = true
	watches := st.watches
	st.watches = nil
	st.mu.Unlock()
	for _, w := range watches {
		w.stop()
		st.server.metrics.watches.Dec()
	}
}
