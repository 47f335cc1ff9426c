// Package control keeps the proxy's one stream to the destination controller. It owns the watches, the cells in which
// their values arrive, and reconnecting after a failure. It must not know what the values are used for. The one idea: a
// value outlives the stream that brought it. While the control plane is away every cell keeps its last value, and the
// next stream begins by asking for all of them again.
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
	// Addr is host:port of the destination controller; the name is looked up for every connection.
	Addr string
	// TLS proves the proxy's identity and verifies the controller's.
	TLS *tls.Config
	// Namespace, Pod and Node identify the proxy's pod; Version is for the controller's log.
	Namespace, Pod, Node, Version string
	// Changed, when set, is called after a target's cell got a value, on the goroutine that receives: it must not wait for
	// another value.
	Changed func(mesh.Target)
	// Asked, when set, is called when a watch is sent. Answered, when set, is called when its first value came (gRPC
	// status 0), or when it failed (any other status), with the time since Asked. A stream that could not be opened counts
	// as one more watch.
	Asked    func()
	Answered func(took time.Duration, grpcStatus int16)
	Log      *zap.Logger
}

// Pauses between streams. They grow while streams fail, so that not all proxies return at once when a controller
// restarts. Until a proxy is back, changes do not reach it, so the longest pause bounds how long a route's change may
// take.
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
	lost      atomic.Int64 // when the last stream that answered ended, after started; 0: none has yet
	counts    counts

	mu       sync.Mutex // guards the fields below
	watches  map[uint64]*watch
	byTarget map[mesh.Target]*watch
	lastID   uint64
	// streaming is true while a stream takes requests; queue has the requests that wait for it.
	streaming bool
	queue     []*pb.SubscribeRequest
	// asked has the time at which each watch without a value was sent on the present stream.
	asked map[uint64]time.Time

	wake latest.Signal // queue may have something
}

type counts struct{ received, rejected, failures atomic.Uint64 }

// inboundID is the watch of the pod's own policy. IDs of targets are greater.
const inboundID = 1

type watch struct {
	id     uint64
	target mesh.Target
	cell   latest.Cell[*mesh.Outbound]
	// rejected is the error of the last value that could not be used; it is logged once. Only the receiver touches it.
	rejected string
}

// New returns a client that watches the pod's inbound policy and nothing else yet.
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

// Watch returns the cell in which the target's values arrive. Watching a target again gives the same cell. It never
// blocks.
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

// Unwatch ends what Watch began. It never blocks.
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

// enqueue adds a request for the present stream. Without one there is nothing to add to: the next begins with every
// watch.
func (c *Client) enqueue(r *pb.SubscribeRequest) {
	if c.streaming {
		c.queue = append(c.queue, r)
		c.poke()
	}
}

func (c *Client) poke() {
	c.wake.Notify()
}

// take empties the queue and returns its requests.
func (c *Client) take() []*pb.SubscribeRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queue
	c.queue = nil
	return q
}

// rewind fills the queue with every watch, for a new stream.
func (c *Client) rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streaming = true
	c.queue = append(make([]*pb.SubscribeRequest, 0, len(c.watches)+2), c.hello(), &pb.SubscribeRequest{
		Message: &pb.SubscribeRequest_Watch{Watch: &pb.Watch{Id: inboundID}},
	})
	for _, w := range c.watches {
		c.queue = append(c.queue, watchRequest(w.id, w.target))
	}
	c.poke()
}

// rest drops the requests that the ended stream did not take.
func (c *Client) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streaming, c.queue = false, nil
}

// Run keeps a stream up until ctx ends.
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
	// Stale is the time since a stream that answered ended, or since New when none has; 0 while connected.
	Stale time.Duration
	// Received counts accepted values, Rejected invalid ones, and Failures streams that ended.
	Received, Rejected, Failures uint64
}

// Status returns the present state.
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
