package connlimit

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
	<-refused // but the total is bounded too
	first.Close()
	first.Close() // releases its place only once
	dial("127.0.0.2")
	<-accepted
	dial("127.0.0.2")
	<-refused
}

// TestEvictionKeepsRoomForAFewConnections: addresses that fill the listener together must not keep out others.
func TestEvictionKeepsRoomForAFewConnections(t *testing.T) {
	for _, tt := range []struct {
		name     string
		crowd    []string // the addresses that connect in sequence, up to the bound of 6
		newcomer string
		evicted  int // position in the crowd
	}{
		{"the oldest of the busiest goes", []string{"2", "3", "3", "3", "4", "4"}, "5", 1},
		{"of equals the oldest goes", []string{"2", "3", "4", "5", "6", "7"}, "8", 0},
		{"an address may be its own busiest", []string{"2", "3", "3", "4", "5", "6"}, "3", 1},
		{"a full address gives up its own oldest", []string{"2", "3", "3", "3"}, "3", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			refused := 0
			l := Bounded(raw, Bounds{Total: max(len(tt.crowd), 6), PerAddress: 3, Evict: true}, func() { refused++ })
			defer l.Close()
			connect := func(host string) (client, server net.Conn) {
				t.Helper()
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0." + host)}}
				client, err := d.Dial("tcp", raw.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if server, err = l.Accept(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { client.Close(); server.Close() })
				return client, server
			}
			var clients, servers []net.Conn
			for _, host := range tt.crowd {
				client, server := connect(host)
				clients, servers = append(clients, client), append(servers, server)
			}
			newClient, newServer := connect(tt.newcomer)
			if _, err := clients[tt.evicted].Read(make([]byte, 1)); err == nil || refused != 1 {
				t.Errorf("read %v of connection %d, %d refused; want an end and 1", err, tt.evicted, refused)
			}
			_ = servers[tt.evicted].Close() // its owner closes it later, which must not free a second place
			clients, servers = append(clients, newClient), append(servers, newServer)
			for i, server := range servers {
				if i == tt.evicted {
					continue
				}
				if _, err := server.Write([]byte("x")); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
				if _, err := clients[i].Read(make([]byte, 1)); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			}
			connect(tt.newcomer)
			if refused != 2 {
				t.Errorf("%d refused after one more connection, want 2", refused)
			}
		})
	}
}

// TestKnownClientsHavePlacesOfTheirOwn: nothing evicts them, and they are bounded too.
func TestKnownClientsHavePlacesOfTheirOwn(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	l := Bounded(raw, Bounds{Total: 1, PerAddress: 1, Evict: true, Known: 1}, func() { refused++ })
	defer l.Close()
	connect := func() (client, server net.Conn) {
		t.Helper()
		client, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close(); server.Close() })
		return client, server
	}
	client, server := connect()
	for range 2 { // the second call has no effect
		if !Admit(server) {
			t.Error("the first known client got no place")
		}
	}
	_, second := connect()
	if refused != 0 || Admit(second) {
		t.Errorf("%d refused, and a second known client got the place of one", refused)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Errorf("write: %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Errorf("read: %v", err)
	}
	_ = server.Close()
	_ = server.Close() // gives the place back only once
	if !Admit(second) {
		t.Error("the place is not free once its connection is closed")
	}
	if _, third := connect(); Admit(third) {
		t.Error("closing twice made two places")
	}
}
