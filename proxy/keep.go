package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/park"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// idleAfter is how long an HTTP/1 connection is silent before it is parked: longer than the pauses of a client at work, because waking
// costs a dozen system calls.
const idleAfter = time.Second

// keptConn is a connection with requests. While something moves the engine serves it; an HTTP/1 connection that its client merely keeps
// open is in the parking lot.
type keptConn struct {
	proxy  *Proxy
	ctx    context.Context // of all connections
	engine *forward.Engine
	rec    *exchange.Conn
	closed func(error) // called once, at the connection's end
	// release is called after closed if the connection was ever parked; else whoever called serve does it.
	release func()
}

// serve lets the engine read requests from conn, whose prefix was read already. It returns true when the connection is parked: then
// it has a life of its own.
func (k *keptConn) serve(conn *net.TCPConn, prefix []byte, p forward.Protocol) (parked bool) {
	err := k.engine.Serve(k.ctx, sock.New(conn, prefix), p, k.rec)
	if errors.Is(err, forward.ErrIdle) {
		if k.proxy.lot.park(conn, k) {
			return true
		}
		err = nil
	}
	k.closed(err)
	return false
}

// Wake implements park.Sleeper.
func (k *keptConn) Wake(conn *net.TCPConn) {
	k.proxy.conns.resume(conn, "outbound", func() bool {
		parked := k.serve(conn, nil, forward.HTTP1)
		if !parked {
			k.release()
		}
		return parked
	})
}

// Evict implements park.Sleeper: the connection ends while it is idle, which HTTP allows at any time.
func (k *keptConn) Evict(err error) {
	if errors.Is(err, park.ErrClosed) {
		err = nil
	}
	k.closed(err)
	k.release()
	k.proxy.conns.leave("outbound", netip.Addr{})
}

// lot is where idle connections are parked.
type lot struct {
	*park.Lot
	log   *zap.Logger
	count atomic.Uint64
	crowd chan struct{} // told of every crowd that was parked
}

// crowd is how many parked connections are worth giving their memory back to the system.
const crowd = 256

func newLot(log *zap.Logger) (*lot, error) {
	l, err := park.New()
	if err != nil {
		return nil, err
	}
	return &lot{Lot: l, log: log, crowd: make(chan struct{}, 1)}, nil
}

// park reports whether the lot took conn.
func (l *lot) park(conn *net.TCPConn, s park.Sleeper) bool {
	if err := l.Park(conn, s); err != nil {
		l.log.Debug("connection not parked", zap.Error(err))
		return false
	}
	if l.count.Add(1)%crowd == 0 {
		select {
		case l.crowd <- struct{}{}:
		default:
		}
	}
	return true
}

// trim gives the memory back that a crowd of connections needed before it fell silent: stacks most of all, which the runtime keeps
// until a collection.
func (l *lot) trim(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.crowd:
		}
		wait(ctx, idleAfter) // the rest of the crowd
		debug.FreeOSMemory()
	}
}
