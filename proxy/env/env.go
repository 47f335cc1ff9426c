// Package env holds what both directions of a proxy need of the process that they run in.
//
// It owns the clock, the bounds of waiting, the addresses of the pod and of the proxy, the logs and counts of what
// peers cause, and how connections are dialled and reset. It must not import what serves connections (proxy/inbound,
// proxy/outbound). The one idea: the two directions share one small struct, and nothing else of the proxy.
package env

import (
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
	"github.com/tulle-mesh/tulle/proxy/tap"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// Env is what both directions use of the process. Its fields are set before the first connection is accepted, and not
// changed afterwards.
type Env struct {
	Log      *zap.Logger
	Stats    *stats.Registry
	Certs    *workload.Manager // nil without mesh TLS
	Failures retry.Failures    // of calls that the application makes
	Times    Times
	Self     Self
	Tap      tap.Hub       // idle while nobody watches
	Tracer   *trace.Tracer // nil if there are no spans to make
	Started  time.Time
}

// Now returns the time on the proxy's own monotonic clock.
func (e *Env) Now() clock.Instant { return clock.Since(e.Started) }

// At returns the Instant of a time.
func (e *Env) At(t time.Time) clock.Instant { return clock.Instant(t.Sub(e.Started)) }

// DetectTime bounds the wait for a connection's first bytes. On a port that declares HTTP the client speaks first,
// so the proxy can wait longer.
func (e *Env) DetectTime(declared mesh.Protocol, otherwise time.Duration) time.Duration {
	if declared == mesh.HTTP1 || declared == mesh.HTTP2 {
		return e.Times.DeclaredDetect
	}
	return otherwise
}

// CountOpen counts a connection as open. The returned function counts how it ended.
func (e *Env) CountOpen(t *stats.TCP) (closed func(error)) {
	began := e.Now()
	t.Opened.Add(1)
	t.Open.Add(1)
	return func(err error) {
		t.Open.Add(-1)
		t.Close(e.Now().Sub(began), err)
	}
}
