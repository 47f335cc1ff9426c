package park_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/proxy/park"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sleeper hands on what the lot tells it.
type sleeper struct {
	woken   chan *net.TCPConn
	evicted chan error
}

func newSleeper() *sleeper {
	return &sleeper{woken: make(chan *net.TCPConn, 1), evicted: make(chan error, 1)}
}

func (s *sleeper) Wake(conn *net.TCPConn) { s.woken <- conn }
func (s *sleeper) Evict(err error)        { s.evicted <- err }

func start(t *testing.T) *park.Lot {
	t.Helper()
	lot, err := park.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lot.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return lot
}

func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if server, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestConnectionWakesWithItsBytesAndItsAddresses(t *testing.T) {
	lot := start(t)
	client, server := pair(t)
	for range 3 { // it may be parked again and again
		s := newSleeper()
		if err := lot.Park(server, s); err != nil {
			t.Fatal(err)
		}
		if got := lot.Len(); got != 1 {
			t.Errorf("%d connections parked, want 1", got)
		}
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		server = <-s.woken
		var buf [5]byte
		if _, err := io.ReadFull(server, buf[:]); err != nil || string(buf[:]) != "hello" {
			t.Fatalf("read %q, %v", buf, err)
		}
		if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
			t.Errorf("remote address %s, want %s", got, want)
		}
		if got := lot.Len(); got != 0 {
			t.Errorf("%d connections parked, want 0", got)
		}
	}
	server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("client read %v after the server closed, want EOF: a descriptor is left", err)
	}
}

func TestBytesThatCameBeforeParkingWakeTheConnection(t *testing.T) {
	lot := start(t)
	client, server := pair(t)
	if _, err := client.Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	s := newSleeper()
	if err := lot.Park(server, s); err != nil {
		t.Fatal(err)
	}
	(<-s.woken).Close()
}

func TestEndOfPeerWakesTheConnection(t *testing.T) {
	lot := start(t)
	client, server := pair(t)
	s := newSleeper()
	if err := lot.Park(server, s); err != nil {
		t.Fatal(err)
	}
	client.Close()
	conn := <-s.woken
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %v, want EOF", err)
	}
}

func TestCloseEvictsEveryConnection(t *testing.T) {
	lot := start(t)
	var sleepers []*sleeper
	var clients []*net.TCPConn
	for range 100 {
		client, server := pair(t)
		s := newSleeper()
		if err := lot.Park(server, s); err != nil {
			t.Fatal(err)
		}
		sleepers, clients = append(sleepers, s), append(clients, client)
	}
	lot.Close()
	for i, s := range sleepers {
		if err := <-s.evicted; !errors.Is(err, park.ErrClosed) {
			t.Errorf("evicted with %v", err)
		}
		if _, err := clients[i].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("client read %v, want EOF", err)
		}
	}
	_, server := pair(t)
	if err := lot.Park(server, newSleeper()); !errors.Is(err, park.ErrClosed) {
		t.Errorf("Park after Close: %v", err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Errorf("the connection that was not parked is broken: %v", err)
	}
}
