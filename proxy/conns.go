package proxy

import (
	"cmp"
	"net"
	"net/netip"
	"sync"

	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// maxConns bounds the accepted connections of each direction that are open at once: beyond it new ones are reset, so
// that a flood does not use up the descriptors and the memory of everything else. An inbound peer is also refused when
// it has peerFactor times as many connections as are free. So one peer gets three quarters at most, and n peers leave
// one of 1+3n parts free: they cannot shut out other peers, nor the kubelet, whose probes decide whether the pod lives.
// It is the dynamic threshold of Choudhury and Hahne (1998).
const (
	maxConns   = 20_000
	peerFactor = 3
)

// tracker counts the accepted connections, bounds them, and lets a proxy that stops wait for them.
type tracker struct {
	wg  sync.WaitGroup
	max int // of each direction; 0 means maxConns

	mu     sync.Mutex              // guards the fields below
	open   map[stats.Direction]int // by direction
	peers  map[netip.Addr]int      // open inbound ones by the client's address
	closed bool
}

// peerOf returns the address that an inbound connection comes from; the zero Addr for one of the pod's applications.
func peerOf(conn *net.TCPConn, direction stats.Direction) netip.Addr {
	if direction != stats.Inbound {
		return netip.Addr{}
	}
	return env.RemoteAddr(conn).Addr()
}

// full reports whether there is no room for a connection from peer.
func (t *tracker) full(direction stats.Direction, peer netip.Addr) bool {
	free := cmp.Or(t.max, maxConns) - t.open[direction]
	return free <= 0 || t.peers[peer] >= peerFactor*free
}

// admit returns the owner of a connection, whose End makes room for another; nil when there are too many.
func (t *tracker) admit(conn *net.TCPConn, direction stats.Direction) *idle.Owner {
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
	owner := idle.NewOwner(conn)
	owner.OnEnd(func() { t.leave(direction, peer) })
	return owner
}

// leave makes room for another connection when one has ended.
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
	allEnded := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(allEnded)
	}()
	return allEnded
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
