package listen

import (
	"net"
	"testing"
)

func TestListenerBoundsConnectionsOfAnAddress(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const most = 8
	refused := make(chan struct{}, 1)
	l := Bounded(raw, Bounds{Total: most + 1, PerAddress: most}, func() { refused <- struct{}{} })
	defer l.Close()
	accepted := make(chan net.Conn, 2*most)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func(local string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		conn, err := d.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var first net.Conn
	for i := range most {
		dial("127.0.0.2")
		if conn := <-accepted; i == 0 {
			first = conn
		}
	}
	if _, err := dial("127.0.0.2").Read(make([]byte, 1)); err == nil {
		t.Error("one connection too many was served")
	}
	<-refused
	dial("127.0.0.3")
	<-accepted // another address is not affected
	dial("127.0.0.4")
	<-refused // but all together are bounded too
	first.Close()
	first.Close() // releases its place once
	dial("127.0.0.2")
	<-accepted
	dial("127.0.0.2")
	<-refused
}
