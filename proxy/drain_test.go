package proxy

import (
	"net"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/stats"
)

// One peer that opens connections without end leaves room for the others.
func TestOnePeerDoesNotTakeAllConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr, end := tracker{max: 20}, make(chan struct{})
	open := func(direction stats.Direction, from string) bool {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		owner := tr.admit(conn.(*net.TCPConn), direction)
		if owner == nil {
			_ = conn.Close()
			return false
		}
		go func() { <-end; owner.End() }()
		return true
	}
	times := func(n int, direction stats.Direction, from string) (taken int) {
		for range n {
			if open(direction, from) {
				taken++
			}
		}
		return taken
	}
	for _, step := range []struct {
		what      string
		direction stats.Direction
		from      string
		want      int
	}{
		{"a greedy peer", "inbound", "127.0.0.1", 15},
		{"another", "inbound", "127.0.0.2", 4},
		{"the first again", "inbound", "127.0.0.1", 0},
		{"a third, such as the kubelet", "inbound", "127.0.0.3", 1},
		{"a fourth, when it is full", "inbound", "127.0.0.4", 0},
		{"the pod's own applications", "outbound", "127.0.0.1", 20},
	} {
		if got := times(25, step.direction, step.from); got != step.want {
			t.Errorf("%s: %d connections, want %d", step.what, got, step.want)
		}
	}
	close(end)
	<-tr.stop()
	if tr.count() != 0 || len(tr.peers) != 0 {
		t.Errorf("%d connections and %d peers are left", tr.count(), len(tr.peers))
	}
}

// TestSomePeersDoNotTakeAllConnections lets greedy peers open what they can, one after the other and alternately, and
// then honest ones come.
func TestSomePeersDoNotTakeAllConnections(t *testing.T) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for name, c := range map[string]struct {
		greedy    int
		alternate bool
		honest    int // further peers that come afterwards
		each      int // what each of them opens and gets
	}{
		"three peers alternately":               {greedy: 3, alternate: true, honest: 20, each: 50},
		"three peers, one after the other":      {greedy: 3, honest: 20, each: 10},
		"four peers alternately":                {greedy: 4, alternate: true, honest: 20, each: 50},
		"a hundred peers alternately":           {greedy: 100, alternate: true, honest: 20, each: 2},
		"a Prometheus of each of many clusters": {honest: 500, each: 35},
		"one gateway for all":                   {honest: 1, each: maxConns / 4 * 3},
	} {
		tr := tracker{open: map[stats.Direction]int{}, peers: map[netip.Addr]int{}}
		enter := func(peer netip.Addr) bool {
			if tr.full("inbound", peer) {
				return false
			}
			tr.open["inbound"]++
			tr.peers[peer]++
			return true
		}
		for i := range c.greedy * maxConns {
			peer := i / maxConns
			if c.alternate {
				peer = i % c.greedy
			}
			enter(addr(peer))
		}
		for i := range c.honest {
			for n := range c.each {
				if !enter(addr(1000 + i)) {
					t.Errorf("%s: peer %d got %d connections of %d with %d open", name, i, n, c.each, tr.open["inbound"])
					break
				}
			}
		}
	}
}
