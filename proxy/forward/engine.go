package forward

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/list"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/replay"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/wheel"
)

// Engine forwards messages between connections. Its methods may be called by several goroutines.
type Engine struct {
	cfg     Config
	handler Handler
	ctx     context.Context // of dials; ends with Run. The engine owns the connections that they make.
	cancel  context.CancelFunc
	wg      sync.WaitGroup // goroutines of upstream connections and of writers
	wake    latest.Signal  // tells Run that there are tasks, or that the wheel is no longer empty
	kicked  atomic.Bool

	taskMu sync.Mutex // guards tasks; taken last
	tasks  []func()

	mu                 sync.Mutex // guards the fields below and the state of every connection, flight and upstream
	now                time.Time  // one reading of the clock a batch
	clock              func() time.Time
	dirty              []*conn // connections with something to flush
	flusher            bool    // a goroutine is about to flush the dirty connections
	inFlight           int
	queued             int // memory in the queues of all bodies
	largeHeads         int // memory of large heads
	partialHeads       int // memory of header blocks that are not complete
	waitingForEndpoint list.List[*flight]
	delayed            list.List[*flight]
	inRoute            *flight       // that Route is asked about
	copies             int           // mirrored requests in flight
	unwanted           detached      // of every flight that receives the rest of a response
	replays            replay.Memory // of all replay buffers
	finished           []*flight     // ended in this batch; recycled at its end
	free               []*flight
	conns              map[*conn]struct{}
	allClosed          chan struct{} // closed when the last downstream connection ends; made by Drain
	serving            int           // downstream connections
	draining           bool
	stopped            bool
	wheel              wheel.Wheel
	idler              idler
	withheld           []*h2Conn    // connections that wait for queues to shrink
	pressure           wheel.Timer  // set while there are any
	scratch            message.Head // for heads that are not needed
	block              []byte       // for header blocks
}

// New makes an engine. Run must be running while it serves.
func New(cfg Config, h Handler) *Engine {
	e := &Engine{
		cfg: cfg.withDefaults(), handler: h, wake: latest.NewSignal(), conns: map[*conn]struct{}{},
		now: time.Now(), clock: time.Now,
	}
	e.replays.Max = e.cfg.MaxReplayBytes
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.wheel = wheel.New(e.now, e.wake.Notify)
	e.idler.timer.Fire = e.findIdle
	e.pressure.Fire = e.shedStalled
	return e
}

// Run drives timeouts and dials until ctx is cancelled. Then it closes every connection, waits for their goroutines and
// returns nil.
func (e *Engine) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		e.mu.Lock()
		if at, ok := e.wheel.Next(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		e.mu.Unlock()
		select {
		case <-ctx.Done():
			e.stop()
			return nil
		case <-e.wake:
		case <-timer.C:
		}
		e.beginBatch()
		e.runTasks()
		e.wheel.Advance(e.now)
		e.endBatch()
	}
}

func (e *Engine) stop() {
	e.cancel()
	e.beginBatch()
	e.stopped = true
	for c := range e.conns {
		c.close(net.ErrClosed)
	}
	e.endBatch()
	e.wg.Wait()
}

// task runs f soon, with the lock. It never blocks.
func (e *Engine) task(f func()) {
	e.taskMu.Lock()
	e.tasks = append(e.tasks, f)
	e.taskMu.Unlock()
	e.wake.Notify()
}

func (e *Engine) runTasks() {
	e.taskMu.Lock()
	tasks := e.tasks
	e.tasks = nil
	e.taskMu.Unlock()
	for _, f := range tasks {
		f()
	}
	if e.kicked.Swap(false) {
		e.retryWaiting()
	}
}

// Serve reads requests from an accepted connection and forwards them until the connection ends, and closes it. It
// returns nil when the connection ended in order. It returns ErrIdle, and does not close the connection, when nothing
// moved for a while. rec must not change meanwhile. A conn that is not a *sock.Conn becomes one.
func (e *Engine) Serve(ctx context.Context, conn net.Conn, p Protocol, rec *exchange.Conn) error {
	c := newConn(e, sock.New(conn, nil), rec.Traffic)
	c.rec = rec
	if p == HTTP1 {
		c.proto = newH1Server(c)
	} else {
		c.proto = newH2Conn(c, p == Mux, nil)
	}
	stop := context.AfterFunc(ctx, func() { e.task(func() { c.close(context.Cause(ctx)) }) })
	defer stop()
	return c.serve(true)
}

// Kick asks Route again, soon, about every exchange that waits for an endpoint. Call it when one appeared. It
// never blocks.
func (e *Engine) Kick() {
	if !e.kicked.Swap(true) {
		e.wake.Notify()
	}
}

// Drain tells every downstream connection to finish what it has and to take nothing new (two GOAWAYs by RFC 9113 §6.8,
// or connection: close). It returns when all have ended. When ctx is cancelled it closes the others and returns ctx's
// error.
func (e *Engine) Drain(ctx context.Context) error {
	e.beginBatch()
	e.draining = true
	if e.allClosed == nil {
		e.allClosed = make(chan struct{})
	}
	allEnded := e.allClosed
	e.signalAllClosed()
	for c := range e.conns {
		if c.rec != nil {
			c.proto.drain()
		}
	}
	e.endBatch()
	select {
	case <-allEnded:
		return nil
	case <-ctx.Done():
	}
	e.beginBatch()
	for c := range e.conns {
		if c.rec != nil {
			c.close(ctx.Err())
		}
	}
	e.endBatch()
	return ctx.Err()
}

// signalAllClosed ends Drain's wait when no downstream connection is left. A connection that comes later, such as an
// idle one that wakes up, is drained at once, and nobody waits for it.
func (e *Engine) signalAllClosed() {
	if e.serving == 0 && e.allClosed != nil {
		close(e.allClosed)
		e.allClosed = nil
	}
}

// Secured returns the open connections with TLS, accepted and dialled ones.
func (e *Engine) Secured() []*sock.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*sock.Conn
	for c := range e.conns {
		if c.sock.Secure() {
			out = append(out, c.sock)
		}
	}
	return out
}

// Retire lets the connections of the set finish what they carry and take nothing new. Clients are sent elsewhere,
// as by Drain; the next request to an upstream dials. Connections that are not open, or retired already, stay as they
// are. A Handler must not call it.
func (e *Engine) Retire(conns map[*sock.Conn]struct{}) {
	e.each(conns, func(c *conn) {
		if !c.retired {
			c.retired = true
			c.proto.drain()
		}
	})
}

// Cut closes the connections of the set. What they carry fails with err. A Handler must not call it.
func (e *Engine) Cut(conns map[*sock.Conn]struct{}, err error) {
	e.each(conns, func(c *conn) { c.close(err) })
}

// each calls do, with the lock, for every open connection of the set.
func (e *Engine) each(conns map[*sock.Conn]struct{}, do func(*conn)) {
	if len(conns) == 0 {
		return
	}
	e.beginBatch()
	defer e.endBatch()
	for c := range e.conns {
		if _, ok := conns[c.sock]; ok {
			do(c)
		}
	}
}
