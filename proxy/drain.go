package proxy

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// maxConns bounds the accepted connections of each direction that are open at once: beyond it new ones are reset, so
// that a flood takes descriptors and memory from nobody else. An inbound peer is also refused when it has places times
// as many connections as are free. So one peer gets three quarters at most, and n peers together leave one of 1+3n
// parts free for others: some peers cannot shut out the rest, nor the kubelet, whose probes decide whether the pod
// lives. It is the dynamic threshold of Choudhury and Hahne (1998).
const (
	maxConns = 20_000
	places   = 3
)

// tracker knows every accepted connection, so that a proxy that stops can wait for them.
type tracker struct {
	wg   sync.WaitGroup
	most int // 0 means maxConns

	mu     sync.Mutex              // guards the fields below
	open   map[stats.Direction]int // by direction
	peers  map[netip.Addr]int      // open inbound ones by where they come from
	closed bool
}

// peerOf returns where an inbound connection comes from. The zero Addr stands for the pod's own applications.
func peerOf(conn *net.TCPConn, direction stats.Direction) netip.Addr {
	if direction != stats.Inbound {
		return netip.Addr{}
	}
	return env.RemoteAddr(conn).Addr()
}

// full reports whether there is no room for a connection from peer.
func (t *tracker) full(direction stats.Direction, peer netip.Addr) bool {
	free := cmp.Or(t.most, maxConns) - t.open[direction]
	return free <= 0 || t.peers[peer] >= places*free
}

// admit returns the owner of a connection, whose End makes room for another; nil when there are too many.
func (t *tracker) admit(conn *net.TCPConn, direction stats.Direction) *idle.Conn {
	peer := peerOf(conn, direction)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.full(direction, peer) {
		return nil
	}
	if t.open == nil {
		t.open, t.peers = map[stats.Direction]int{}, map[netip.Addr]int{}
	}
	t.open[direction]++
	if peer.IsValid() {
		t.peers[peer]++
	}
	t.wg.Add(1)
	owner := idle.NewConn(conn)
	owner.OnEnd(func() { t.leave(direction, peer) })
	return owner
}

// leave is called when a connection has ended.
func (t *tracker) leave(direction stats.Direction, peer netip.Addr) {
	t.mu.Lock()
	t.open[direction]--
	if t.peers[peer]--; t.peers[peer] <= 0 {
		delete(t.peers, peer)
	}
	t.mu.Unlock()
	t.wg.Done()
}

// stop refuses further connections, and returns a channel that is closed when the last one has ended.
func (t *tracker) stop() <-chan struct{} {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(idle)
	}()
	return idle
}

// count returns how many connections are open.
func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, open := range t.open {
		n += open
	}
	return n
}

// drain waits for open connections after the listeners were closed: HTTP clients get a GOAWAY or `connection: close`,
// and every connection may finish until the grace ends. The rest is cut by cancelling the connections' context.
func (p *Proxy) drain(cut context.CancelFunc) {
	p.log.Info("draining", zap.Int("connections", p.conns.count()), zap.Duration("grace", p.env.Times.Grace))
	idle := p.conns.stop()
	p.idle.Close() // idle connections have nothing to finish
	ctx, cancel := context.WithTimeout(context.Background(), p.env.Times.Grace)
	defer cancel()
	var engines sync.WaitGroup
	for direction, engine := range map[stats.Direction]*forward.Engine{
		stats.Outbound: p.outbound.Engine(), stats.Inbound: p.inbound.Engine(),
	} {
		engines.Go(func() {
			if err := engine.Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
				p.log.Warn("drain cut requests off", zap.String("direction", string(direction)), zap.Error(err))
			}
		})
	}
	select {
	case <-idle:
		p.log.Info("drained")
	case <-ctx.Done():
		p.log.Warn("grace ended", zap.Int("connections", p.conns.count()))
	}
	cut()
	cancel()
	engines.Wait()
	<-idle
}

// wait returns when d has passed or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
