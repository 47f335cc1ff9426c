package forward

import (
	"context"
	"errors"
	"net"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// Engine forwards messages between connections. Its methods may be called by several goroutines.
type Engine struct {
	cfg     Config
	handler Handler
}

// New makes an engine. Run must be running while it serves.
func New(cfg Config, h Handler) *Engine {
	return &Engine{cfg: cfg.withDefaults(), handler: h}
}

var errNotYet = errors.New("forward: not supported")

// Run drives timeouts and dials until ctx is cancelled; then it closes every connection, waits for their goroutines and returns nil.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Serve reads requests from an accepted connection and forwards them until the connection ends, and closes it. It returns nil when
// the connection ended in order. rec must not change meanwhile. A conn that is no *sock.Conn becomes one.
func (e *Engine) Serve(ctx context.Context, conn net.Conn, p Protocol, rec *exchange.Conn) error {
	_ = conn.Close()
	return errNotYet
}

// Kick asks Route again about every parked exchange, soon. Call it when an endpoint appeared. It never blocks.
func (e *Engine) Kick() {}

// Drain tells every downstream connection to finish what it has and send nothing new (GOAWAY twice as RFC 9113 §6.8, or connection:
// close), and returns when all are done or ctx is cancelled; then it closes the rest and returns ctx's error.
func (e *Engine) Drain(ctx context.Context) error { return ctx.Err() }

// NewUpstream makes an upstream without any connection; the first request dials.
func (e *Engine) NewUpstream(cfg UpstreamConfig) *Upstream {
	return &Upstream{engine: e, cfg: cfg}
}

// Upstream is one address that requests are given to, and the connections to it.
type Upstream struct {
	engine *Engine
	cfg    UpstreamConfig
}

// Close lets the requests that were given to u finish and then closes its connections. Requests given later fail as Refused. It may
// be called from a Handler's method and never blocks.
func (u *Upstream) Close() {}
