package proxy

import (
	"net"
	"testing"
)

// One peer that opens connections without end leaves room for the others.
func TestOnePeerDoesNotTakeAllConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr, end := tracker{most: 20}, make(chan struct{})
	open := func(direction, from string) bool {
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
		ok := tr.run(conn.(*net.TCPConn), direction, func() bool { <-end; return false })
		if !ok {
			_ = conn.Close()
		}
		return ok
	}
	times := func(n int, direction, from string) (taken int) {
		for range n {
			if open(direction, from) {
				taken++
			}
		}
		return taken
	}
	for _, step := range []struct {
		what            string
		direction, from string
		want            int
	}{
		{"a greedy peer", "inbound", "127.0.0.1", 15},
		{"another", "inbound", "127.0.0.2", 5},
		{"a third, when it is full", "inbound", "127.0.0.3", 0},
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
