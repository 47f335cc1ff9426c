package outbound

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// httpConn is a connection with requests. The engine serves it while it carries requests. An idle HTTP/1 connection is
// in the pool of idle connections.
type httpConn struct {
	outbound *Outbound
	ctx      context.Context // of all connections
	record   *exchange.Conn
	closed   func(error) // called once, at the connection's end
}

// serve lets the engine read requests from the connection until it ends or is idle. prefix holds the bytes that were
// read already.
func (h *httpConn) serve(owner *idle.Owner, prefix []byte, p forward.Protocol) {
	err := h.outbound.engine.Serve(h.ctx, sock.New(owner.TCPConn, prefix), p, h.record)
	if errors.Is(err, forward.ErrIdle) {
		if err = h.outbound.idle.Add(owner, h); err == nil {
			return
		}
		h.outbound.log.Debug("idle connection not kept", zap.Error(err))
		err = nil
	}
	h.closed(err)
}

// Resume implements idle.Handler.
func (h *httpConn) Resume(owner *idle.Owner) { h.serve(owner, nil, forward.HTTP1) }

// Closed implements idle.Handler: the connection ended while it was idle, which HTTP allows at any time.
func (h *httpConn) Closed(err error) {
	if errors.Is(err, idle.ErrClosed) {
		err = nil
	}
	h.closed(err)
}
