package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// echoPath answers every request with its path.
func echoPath(c *net.TCPConn) {
	for r := bufio.NewReader(c); ; {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", len(q.URL.Path),
			q.URL.Path); err != nil {
			return
		}
	}
}

// awaitIdle waits until n connections are in the pool.
func awaitIdle(t *testing.T, p *Proxy, n int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); p.idle.Len() != n; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d connections are idle, want %d", p.idle.Len(), n)
		}
	}
}

func TestSilentConnectionIsIdleAndServedAgain(t *testing.T) {
	p := startPair(t, pairConfig{app: listen(t, echoPath), protocol: mesh.HTTP1})
	c := dial(t, p.addr)
	answers := bufio.NewReader(c)
	for _, path := range []string{"/one", "/two", "/three"} {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nhost: a\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != path {
			t.Fatalf("answer %q, %v, want %q", got, err, path)
		}
		awaitIdle(t, p.client, 1)
		if n := p.client.conns.count(); n != 1 {
			t.Errorf("%d connections open, want 1", n)
		}
	}
	_ = c.Close()
	awaitIdle(t, p.client, 0)
}

func TestDrainEndsIdleConnectionsAtOnce(t *testing.T) {
	p := startPair(t, pairConfig{app: listen(t, echoPath), protocol: mesh.HTTP1})
	c := dial(t, p.addr)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	awaitIdle(t, p.client, 1)
	p.client.admin.shutdownOnce.Do(func() { close(p.client.admin.shutdown) })
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %v, want EOF", err)
	}
}
