package forward

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// idleRig is an engine that a test hands connections to.
type idleRig struct {
	e      *Engine
	client net.Conn
	read   *bufio.Reader
	server net.Conn
}

func startIdle(t *testing.T, after time.Duration) *idleRig {
	t.Helper()
	h := &fixed{}
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	p := start(t, HTTP1, Config{IdleAfter: after}, h, nil)
	h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app)}))
	l := listen(t)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return &idleRig{e: p.e, client: client, read: bufio.NewReader(client), server: server}
}

// serve starts Serve; its result comes on the channel.
func (r *idleRig) serve() <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.e.Serve(context.Background(), sock.New(r.server, nil), HTTP1, &exchange.Conn{}) }()
	return done
}

// ask sends text, which completes a request for path, and expects its answer.
func (r *idleRig) ask(t *testing.T, text, path string) {
	t.Helper()
	if _, err := io.WriteString(r.client, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r.read, nil)
	if got := readBody(t, resp, err); got != path {
		t.Errorf("answer %q, want %q", got, path)
	}
}

func TestSilentConnectionIsHandedBackOpenAndServedAgain(t *testing.T) {
	r := startIdle(t, 20*time.Millisecond)
	for _, path := range []string{"/first", "/second"} {
		done := r.serve()
		r.ask(t, "GET "+path+" HTTP/1.1\r\nhost: a\r\n\r\n", path)
		if err := <-done; !errors.Is(err, ErrIdle) {
			t.Fatalf("Serve: %v, want ErrIdle", err)
		}
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.e.serving != 0 || r.e.idler.conns != 0 {
		t.Errorf("the engine still counts %d and %d connections", r.e.serving, r.e.idler.conns)
	}
}

// A request that is not complete is not silence, however slowly it comes; only the head timeout ends it.
func TestConnectionInsideARequestIsNotIdle(t *testing.T) {
	for name, parts := range map[string][]string{
		"inside the head": {"GET /slow HT", "TP/1.1\r\nhost: a\r\n\r\n"},
		"inside the body": {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n", "body"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startIdle(t, 20*time.Millisecond)
			done := r.serve()
			if _, err := io.WriteString(r.client, parts[0]); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-done:
				t.Fatalf("Serve: %v", err)
			case <-time.After(150 * time.Millisecond): // several times IdleAfter: nothing may happen meanwhile
			}
			want := "/slow"
			if name == "inside the body" {
				want = "body/"
			}
			r.ask(t, parts[1], want)
			if err := <-done; !errors.Is(err, ErrIdle) {
				t.Errorf("Serve: %v, want ErrIdle", err)
			}
		})
	}
}

func TestEndOfASilentConnectionIsNotIdleness(t *testing.T) {
	r := startIdle(t, time.Hour)
	done := r.serve()
	r.ask(t, "GET /x HTTP/1.1\r\nhost: a\r\n\r\n", "/x")
	_ = r.client.Close()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v, want nil", err)
	}
}

// Bytes may come between the decision and the reader's return: they count, and nothing of them is lost.
func TestBytesThatComeJustInTimeAreServed(t *testing.T) {
	r := startIdle(t, time.Hour)
	done := r.serve()
	r.ask(t, "GET /a HTTP/1.1\r\nhost: a\r\n\r\n", "/a")
	for range 200 {
		if _, err := io.WriteString(r.client, "GET /b HTTP/1.1\r\nho"); err != nil {
			t.Fatal(err)
		}
		r.e.beginBatch()
		for c := range r.e.conns {
			if s, ok := c.proto.(*h1Server); ok && s.isIdle() {
				c.goIdle()
			}
		}
		r.e.endBatch()
		select {
		case err := <-done:
			if !errors.Is(err, ErrIdle) {
				t.Fatalf("Serve: %v", err)
			}
			done = r.serve()
		default:
		}
		if _, err := io.WriteString(r.client, "st: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		// Serve may end idle before it sees the request: the caller serves it again.
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			r.ask(t, "", "/b")
		}()
		for waiting := true; waiting; {
			select {
			case <-answered:
				waiting = false
			case err := <-done:
				if !errors.Is(err, ErrIdle) {
					t.Fatalf("Serve: %v", err)
				}
				done = r.serve()
			}
		}
	}
}
