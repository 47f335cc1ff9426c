// Package control maintains the proxy's one stream to the destination controller.
//
// It owns the watches, the cells in which their values arrive, and reconnecting after a failure. It must not know what
// the values are used for. The one idea: a value outlives the stream that brought it. While the control plane is away
// every cell keeps its last value. The next stream begins with a request for all of them.
package control

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// Config is the identity of the proxy and the address of the controller.
type Config struct {
	// Addr is host:port of the destination controller. Each connection resolves the name again.
	Addr string
	// TLS proves the proxy's identity and verifies the controller's.
	TLS *tls.Config
	// Namespace, Pod and Node identify the proxy's pod; the controller logs Version.
	Namespace, Pod, Node, Version string
	// Changed, if set, is called after a target's cell got a value. It runs on the receiving goroutine, so it must not
	// wait for another value.
	Changed func(mesh.Target)
	// Asked, if set, is called when a watch is sent. Answered, if set, is called when the watch's first value arrived
	// (gRPC status 0) or the watch failed (any other status). took is the time since Asked. A stream that could not be
	// opened counts as one more watch.
	Asked    func()
	Answered func(took time.Duration, grpcStatus int16)
	Log      *zap.Logger
}

// Pauses between streams. They grow while streams fail, so that not all proxies reconnect at once when a controller
// restarts. A disconnected proxy gets no changes, so the longest pause bounds how long a changed route takes to arrive.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Client watches targets. Its methods may be called by several goroutines.
type Client struct {
	cfg     Config
	started time.Time
	inbound latest.Cell[*mesh.Inbound]

	connected atomic.Bool
	lost      atomic.Int64 // when the last stream that answered ended, counted from started; 0: none ended yet
	counts    counts

	mu       sync.Mutex // guards the fields below
	watches  map[uint64]*watch
	byTarget map[mesh.Target]*watch
	lastID   uint64
	// streaming is true while a stream accepts requests; queue has the requests that wait for it.
	streaming bool
	queue     []*pb.SubscribeRequest
	// asked is the time at which each watch without a value was sent on the current stream.
	asked map[uint64]time.Time

	wake latest.Signal // queue may have requests
}

type counts struct{ received, rejected, failures atomic.Uint64 }

// inboundID is the ID of the watch of the pod's own policy. IDs of targets are greater.
const inboundID = 1

type watch struct {
	id     uint64
	target mesh.Target
	cell   latest.Cell[*mesh.Outbound]
	// rejected is the error of the last invalid value, so that it is logged once. Only the receiving goroutine uses it.
	rejected string
}

// New returns a client that watches only the pod's inbound policy. Run connects it.
func New(cfg Config) *Client {
	if cfg.Changed == nil {
		cfg.Changed = func(mesh.Target) {}
	}
	if cfg.Asked == nil {
		cfg.Asked = func() {}
	}
	if cfg.Answered == nil {
		cfg.Answered = func(time.Duration, int16) {}
	}
	return &Client{
		cfg: cfg, started: time.Now(), lastID: inboundID, wake: latest.NewSignal(),
		watches: map[uint64]*watch{}, byTarget: map[mesh.Target]*watch{}, asked: map[uint64]time.Time{},
	}
}

// Inbound returns the cell of the pod's own policy.
func (c *Client) Inbound() *latest.Cell[*mesh.Inbound] { return &c.inbound }

// Watch returns the cell in which the target's values arrive. Another Watch of the target returns the same cell. It
// never blocks.
func (c *Client) Watch(t mesh.Target) *latest.Cell[*mesh.Outbound] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.byTarget[t]; w != nil {
		return &w.cell
	}
	c.lastID++
	w := &watch{id: c.lastID, target: t}
	c.watches[w.id], c.byTarget[t] = w, w
	c.enqueue(watchRequest(w.id, t))
	return &w.cell
}

// Unwatch ends the watch of a target. It never blocks.
func (c *Client) Unwatch(t mesh.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.byTarget[t]
	if w == nil {
		return
	}
	delete(c.byTarget, t)
	delete(c.watches, w.id)
	c.enqueue(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Unwatch{Unwatch: w.id}})
}

// enqueue adds a request for the current stream. Without a stream it does nothing: the next stream begins with all
// watches.
func (c *Client) enqueue(r *pb.SubscribeRequest) {
	if c.streaming {
		c.queue = append(c.queue, r)
		c.wakeSender()
	}
}

func (c *Client) wakeSender() {
	c.wake.Notify()
}

// take returns the queued requests and empties the queue.
func (c *Client) take() []*pb.SubscribeRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queue
	c.queue = nil
	return q
}

// queueAll fills the queue with all watches, for a new stream.
func (c *Client) queueAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streaming = true
	c.queue = append(make([]*pb.SubscribeRequest, 0, len(c.watches)+2), c.hello(), &pb.SubscribeRequest{
		Message: &pb.SubscribeRequest_Watch{Watch: &pb.Watch{Id: inboundID}},
	})
	for _, w := range c.watches {
		c.queue = append(c.queue, watchRequest(w.id, w.target))
	}
	c.wakeSender()
}

// dropQueue drops the requests that the ended stream did not take.
func (c *Client) dropQueue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streaming, c.queue = false, nil
}

// Run keeps a stream open, and opens another when it ends, until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	retry := backoff.Backoff{First: minBackoff, Max: maxBackoff}
	for {
		answered, err := c.stream(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if answered {
			c.connected.Store(false)
			c.lost.Store(int64(time.Since(c.started)))
			retry.Reset()
		}
		c.counts.failures.Add(1)
		pause := retry.Next()
		c.cfg.Log.Warn("destination controller lost", zap.String("addr", c.cfg.Addr), zap.Bool("answered", answered),
			zap.Duration("retryIn", pause), zap.Error(err))
		if err := backoff.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// Status is the state of a Client for metrics.
type Status struct {
	Connected bool
	// Stale is the time since the last stream that answered ended, or since New if none has. It is 0 while connected.
	Stale time.Duration
	// Received counts accepted values, Rejected invalid ones, and Failures streams that ended.
	Received, Rejected, Failures uint64
}

// Status returns the current state.
func (c *Client) Status() Status {
	s := Status{
		Connected: c.connected.Load(),
		Received:  c.counts.received.Load(), Rejected: c.counts.rejected.Load(), Failures: c.counts.failures.Load(),
	}
	if !s.Connected {
		s.Stale = time.Since(c.started) - time.Duration(c.lost.Load())
	}
	return s
}
