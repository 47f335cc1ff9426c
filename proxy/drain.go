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
)

// maxConns bounds the accepted connections of each direction that are open at once: beyond it new ones are reset, so that a flood
// takes descriptors and memory from nobody else. An inbound peer also needs fewer than places times as many as are free: one gets three
// quarters at most, and n peers together leave a part of 1+3n free, in which each further one finds a place. So some peers do not keep out
// the others, nor the kubelet, whose probes decide whether the pod lives. It is the dynamic threshold of Choudhury and Hahne (1998).
const (
	maxConns = 20_000
	places   = 3
)

// tracker knows every accepted connection, so that a proxy that stops can wait for them.
type tracker struct {
	wg   sync.WaitGroup
	most int // 0 means maxConns

	mu     sync.Mutex         // guards the fields below
	open   map[string]int     // by direction
	peers  map[netip.Addr]int // open inbound ones by where they come from
	closed bool
}

// peerOf returns where an inbound connection comes from. What the pod's own applications open is not told apart.
func peerOf(conn *net.TCPConn, direction string) netip.Addr {
	if direction != "inbound" {
		return netip.Addr{}
	}
	return unmap(conn.RemoteAddr().(*net.TCPAddr).AddrPort()).Addr()
}

// full reports whether there is no room for a connection from peer.
func (t *tracker) full(direction string, peer netip.Addr) bool {
	free := cmp.Or(t.most, maxConns) - t.open[direction]
	return free <= 0 || t.peers[peer] >= places*free
}

// run calls serve on a goroutine of its own, which owns conn until serve says that it was parked; false when there are too many.
func (t *tracker) run(conn *net.TCPConn, direction string, serve func() (parked bool)) bool {
	peer := peerOf(conn, direction)
	t.mu.Lock()
	if t.closed || t.full(direction, peer) {
		t.mu.Unlock()
		return false
	}
	if t.open == nil {
		t.open, t.peers = map[string]int{}, map[netip.Addr]int{}
	}
	t.open[direction]++
	if peer.IsValid() {
		t.peers[peer]++
	}
	t.wg.Add(1)
	t.mu.Unlock()
	t.resume(conn, direction, serve)
	return true
}

// resume is run for a connection that was parked.
func (t *tracker) resume(conn *net.TCPConn, direction string, serve func() (parked bool)) {
	go func() {
		if serve() {
			return
		}
		_ = conn.Close() // closed already when it ended in order
		t.leave(direction, peerOf(conn, direction))
	}()
}

// leave is called when a connection has ended.
func (t *tracker) leave(direction string, peer netip.Addr) {
	t.mu.Lock()
	t.open[direction]--
	if t.peers[peer]--; t.peers[peer] <= 0 {
		delete(t.peers, peer)
	}
	t.mu.Unlock()
	t.wg.Done()
}

// stop lets no further connection in, and returns a channel that is closed when the last one has ended.
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

// drain waits for open connections after the listeners were closed: HTTP clients are told to finish, and everything has until the
// grace ends. What is left then is cut by cancelling the connections' context.
func (p *Proxy) drain(cut context.CancelFunc) {
	p.log.Info("draining", zap.Int("connections", p.conns.count()), zap.Duration("grace", p.times.grace))
	idle := p.conns.stop()
	p.lot.Close() // what is parked has nothing to finish
	ctx, cancel := context.WithTimeout(context.Background(), p.times.grace)
	defer cancel()
	var engines sync.WaitGroup
	for name, engine := range map[string]interface{ Drain(context.Context) error }{"outbound": p.outbound.engine, "inbound": p.inbound.engine} {
		engines.Go(func() {
			if err := engine.Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
				p.log.Warn("drain cut requests off", zap.String("direction", name), zap.Error(err))
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

// reset closes a connection so that its peer sees it refused instead of ended.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // best effort: the connection may be gone
	_ = conn.Close()
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
