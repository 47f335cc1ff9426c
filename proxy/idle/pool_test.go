package idle_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/proxy/idle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler passes the pool's calls to the test. Resume returns when the test has taken and served the connection.
type handler struct {
	resumed chan *idle.Owner
	served  chan struct{}
	closed  chan error
}

func newHandler() *handler {
	return &handler{resumed: make(chan *idle.Owner), served: make(chan struct{}), closed: make(chan error, 1)}
}

func (h *handler) Resume(conn *idle.Owner) { h.resumed <- conn; <-h.served }
func (h *handler) Closed(err error)        { h.closed <- err }

func start(t *testing.T) *idle.Pool {
	t.Helper()
	pool, err := idle.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return pool
}

func pair(t *testing.T) (client *net.TCPConn, server *idle.Owner) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); accepted.Close() })
	return client, idle.NewOwner(accepted)
}

func TestConnectionResumesWithItsBytesAndItsAddresses(t *testing.T) {
	pool := start(t)
	client, server := pair(t)
	ends := make(chan string, 2)
	server.OnEnd(func() { ends <- "first" })
	server.OnEnd(func() { ends <- "second" })
	var h *handler
	for range 3 { // it may become idle any number of times
		next := newHandler()
		if err := pool.Add(server, next); err != nil {
			t.Fatal(err)
		}
		if h != nil { // it is in the pool again, so the return of Resume does not end it
			close(h.served)
		}
		h = next
		if got := pool.Len(); got != 1 {
			t.Errorf("%d connections in the pool, want 1", got)
		}
		server.End() // no effect, because the pool has it
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		server = <-h.resumed
		var buf [5]byte
		if _, err := io.ReadFull(server, buf[:]); err != nil || string(buf[:]) != "hello" {
			t.Fatalf("read %q, %v", buf, err)
		}
		if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
			t.Errorf("remote address %s, want %s", got, want)
		}
		if got := pool.Len(); got != 0 {
			t.Errorf("%d connections in the pool, want 0", got)
		}
	}
	if len(ends) != 0 {
		t.Error("the connection counts as ended while it is open")
	}
	close(h.served)
	if got, want := [2]string{<-ends, <-ends}, [2]string{"second", "first"}; got != want {
		t.Errorf("told of the end in the order %v, want %v", got, want)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("client read %v after the connection ended, want EOF: a descriptor is left", err)
	}
}

func TestBytesThatCameBeforeResumeTheConnection(t *testing.T) {
	pool := start(t)
	client, server := pair(t)
	if _, err := client.Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	h := newHandler()
	if err := pool.Add(server, h); err != nil {
		t.Fatal(err)
	}
	<-h.resumed
	close(h.served)
}

func TestEndOfPeerResumesTheConnection(t *testing.T) {
	pool := start(t)
	client, server := pair(t)
	h := newHandler()
	if err := pool.Add(server, h); err != nil {
		t.Fatal(err)
	}
	client.Close()
	conn := <-h.resumed
	defer close(h.served)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %v, want EOF", err)
	}
}

func TestCloseClosesEveryConnection(t *testing.T) {
	const n = 100
	pool := start(t)
	var handlers []*handler
	var clients []*net.TCPConn
	ends := make(chan struct{}, n)
	for range n {
		client, server := pair(t)
		server.OnEnd(func() { ends <- struct{}{} })
		h := newHandler()
		if err := pool.Add(server, h); err != nil {
			t.Fatal(err)
		}
		handlers, clients = append(handlers, h), append(clients, client)
	}
	pool.Close()
	for i, h := range handlers {
		if err := <-h.closed; !errors.Is(err, idle.ErrClosed) {
			t.Errorf("closed with %v", err)
		}
		<-ends
		if _, err := clients[i].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("client read %v, want EOF", err)
		}
	}
	_, server := pair(t)
	if err := pool.Add(server, newHandler()); !errors.Is(err, idle.ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Errorf("the connection that was not taken is broken: %v", err)
	}
}
