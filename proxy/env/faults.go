package env

import (
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// CountFault counts a request that this proxy failed.
func (e *Env) CountFault(d stats.Direction, f exchange.Fault) {
	if f.Kind == exchange.Disconnected {
		return // the client ended it; tcp_close_total counts it
	}
	e.Stats.RequestFailed(d, f.Kind.String(), f.Reason)
}

// CountConnFault returns a forward.Config.Report that counts the faults that belong to no request.
func (e *Env) CountConnFault(d stats.Direction) func(*exchange.Conn, exchange.Fault) {
	return func(_ *exchange.Conn, f exchange.Fault) { e.CountFault(d, f) }
}

// LogConnEnd returns a forward.Config.Ended that logs and counts the HTTP/2 connections that the engine ends because of
// what their peer sends.
func (e *Env) LogConnEnd(d stats.Direction, log *EventLog) func(forward.ConnEnd) {
	return func(c forward.ConnEnd) {
		e.Stats.Inc(stats.HTTP2Ended, stats.HTTP2EndLabels(d, c.Peer.String(), c.Fault.Kind.String(), c.Fault.Reason))
		fields := []zap.Field{
			zap.String("peerKind", c.Peer.String()), zap.Stringer("remote", c.Remote), zap.Stringer("error", c.Fault.Kind),
			zap.String("reason", c.Fault.Reason),
		}
		if c.Conn != nil {
			fields = append(fields, zap.Stringer("target", c.Conn.OrigDst), zap.Stringer("client", c.Conn.Peer))
		}
		log.Info("HTTP/2 connection ended", fields...)
	}
}
