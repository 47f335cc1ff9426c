package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sockets returns the two ends of a TCP connection.
func sockets(t *testing.T) (far, near *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// half is a connection that can end its own stream.
type half interface {
	net.Conn
	CloseWrite() error
}

// secured returns the far and the near end of a TLS connection.
func secured(t *testing.T) (half, *End) {
	t.Helper()
	id := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	certs := meshtest.NewCA(t).Certs(id)
	far, near := sockets(t)
	client := tls.Client(far, certs.ClientTLS(id, mesh.ALPNRelay))
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake() }()
	server, err := sock.Server(context.Background(), sock.New(near, nil), certs.ServerTLS(mesh.ALPNRelay))
	if err := errors.Join(err, <-failed); err != nil {
		t.Fatal(err)
	}
	return client, Secure(server)
}

// start relays between the ends; the channel gives the result.
func start(a, b *End) <-chan Result {
	done := make(chan Result, 1)
	go func() { done <- Run(context.Background(), a, b) }()
	return done
}

func pairs(t *testing.T, test func(t *testing.T, client, server half, a, b *End)) {
	t.Run("plain to plain", func(t *testing.T) {
		client, a := sockets(t)
		server, b := sockets(t)
		test(t, client, server, Plain(a, nil), Plain(b, nil))
	})
	t.Run("plain to TLS", func(t *testing.T) {
		client, a := sockets(t)
		server, b := secured(t)
		test(t, client, server, Plain(a, nil), b)
	})
	t.Run("TLS to plain", func(t *testing.T) {
		client, a := secured(t)
		server, b := sockets(t)
		test(t, client, server, a, Plain(b, nil))
	})
}

func TestBytesArriveBothWaysAndAreCounted(t *testing.T) {
	pairs(t, func(t *testing.T, client, server half, a, b *End) {
		var read, written atomic.Uint64
		a.Read, a.Written = &read, &written
		done := start(a, b)
		there, back := make([]byte, 5<<20+1), make([]byte, 3<<20+7)
		_, _ = rand.Read(there)
		_, _ = rand.Read(back)
		go func() { _, _ = client.Write(there); _ = client.CloseWrite() }()
		if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, there) {
			t.Fatalf("there: %d bytes, %v; want %d", len(got), err, len(there))
		}
		// The client has ended its stream; the other direction goes on.
		go func() { _, _ = server.Write(back); _ = server.CloseWrite() }()
		if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, back) {
			t.Fatalf("back: %d bytes, %v; want %d", len(got), err, len(back))
		}
		if r := <-done; r.A != nil || r.B != nil {
			t.Errorf("ended with %v and %v", r.A, r.B)
		}
		if read.Load() != uint64(len(there)) || written.Load() != uint64(len(back)) {
			t.Errorf("counted %d and %d bytes, want %d and %d", read.Load(), written.Load(), len(there), len(back))
		}
	})
}

func TestSlowReaderSlowsItsWriter(t *testing.T) {
	pairs(t, func(t *testing.T, client, server half, a, b *End) {
		ctx, cut := context.WithCancel(context.Background())
		done := make(chan Result, 1)
		go func() { done <- Run(ctx, a, b) }()
		// Nobody reads: the writer must stop once the kernel's and the relay's buffers are full, long before a gigabyte.
		if err := client.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		chunk := make([]byte, 1<<20)
		sent := 0
		var err error
		for err == nil && sent < 1<<30 {
			var n int
			n, err = client.Write(chunk)
			sent += n
		}
		if err == nil || sent > 64<<20 {
			t.Errorf("wrote %d bytes to a reader that does not read, %v", sent, err)
		}
		cut() // while one direction waits inside a read of the other
		<-done
	})
}

func TestPrefixComesFirst(t *testing.T) {
	client, near := sockets(t)
	server, b := sockets(t)
	done := start(Plain(near, []byte("GET ")), Plain(b, nil))
	_, _ = io.WriteString(client, "/")
	_ = client.CloseWrite()
	if got, err := io.ReadAll(server); string(got) != "GET /" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	_ = server.CloseWrite()
	<-done
}

func TestResetIsPassedOn(t *testing.T) {
	client, near := sockets(t)
	server, b := sockets(t)
	done := start(Plain(near, nil), Plain(b, nil))
	_ = server.SetLinger(0)
	_ = server.Close()
	if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
	if r := <-done; r.B == nil {
		t.Error("the relay took a reset for an orderly end")
	}
}

func TestTruncatedTLSIsNoOrderlyEnd(t *testing.T) {
	client, a := secured(t)
	server, b := sockets(t)
	done := start(a, Plain(b, nil))
	_, _ = io.WriteString(client, "half of it")
	if _, err := io.ReadFull(server, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	_ = client.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite() // FIN without close_notify
	if _, err := io.ReadAll(server); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset: somebody may have cut the stream", err)
	}
	<-done
}

// A server that does not want what it is sent answers and closes, which resets the connection. Its answer arrives
// nevertheless.
func TestAnswerBeforeAResetArrives(t *testing.T) {
	for range 30 {
		pairs(t, func(t *testing.T, client, server half, a, b *End) {
			done := start(a, b)
			wrote := make(chan struct{})
			go func() { defer close(wrote); _, _ = client.Write(make([]byte, 1<<20)) }()
			answer := bytes.Repeat([]byte("no"), 10_000)
			if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if _, err := server.Write(answer); err != nil {
				t.Fatal(err)
			}
			_ = server.Close()
			got := make([]byte, len(answer))
			if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, answer) {
				t.Errorf("got %d bytes of %d, %v", n, len(answer), err)
			}
			_ = client.Close()
			<-wrote
			<-done
		})
	}
}
