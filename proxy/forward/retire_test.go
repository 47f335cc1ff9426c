package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// all returns the set of the engine's connections with TLS.
func all(e *Engine) map[*sock.Conn]struct{} {
	set := map[*sock.Conn]struct{}{}
	for _, c := range e.Secured() {
		set[c] = struct{}{}
	}
	return set
}

// secure counts the connections with TLS. The caller has the lock.
func (e *Engine) secure() (n int) {
	for c := range e.conns {
		if c.sock.Secure() {
			n++
		}
	}
	return n
}

// paused is an application that answers in two halves, the second one when the test says so; elsewhere at once.
func paused(t *testing.T) (addr string, goOn chan struct{}) {
	goOn = make(chan struct{})
	return serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "one")
		if r.URL.Path == "/paused" {
			_ = http.NewResponseController(w).Flush()
			<-goOn
		}
		_, _ = io.WriteString(w, "two")
	})), goOn
}

// TestRetiredConnectionFinishesAndMakesWay retires the connection between two proxies at either end while an answer is
// under way.
func TestRetiredConnectionFinishesAndMakesWay(t *testing.T) {
	for _, end := range []string{"client", "server"} {
		for _, pair := range pairs {
			if !pair.meshed {
				continue
			}
			t.Run(end+" "+pair.name, func(t *testing.T) {
				app, goOn := paused(t)
				r := build(t, pair.http2, true, app, Config{})
				slow, err := r.client.Get(r.url + "/paused")
				if err != nil {
					t.Fatal(err)
				}
				defer slow.Body.Close()
				e := map[string]*Engine{"client": r.first.e, "server": r.last.e}[end]
				old := all(e)
				if len(old) != 1 {
					t.Fatalf("%d connections with TLS, want 1", len(old))
				}
				e.Retire(old)
				e.Retire(old) // which changes nothing
				if end == "server" {
					r.first.eventually(t, "the client hears of it", func() bool {
						for c := range r.first.e.conns {
							if c, ok := c.proto.(*h2Conn); ok && c.client() && c.mux && c.state == h2Draining {
								return true
							}
						}
						return false
					})
				}
				for range 3 { // all on one other connection
					resp, err := r.client.Post(r.url+"/now", "text/plain", strings.NewReader("x"))
					if got := readBody(t, resp, err); got != "onetwo" {
						t.Errorf("a request after it: got %q", got)
					}
				}
				if n := len(r.last.e.Secured()); n != 2 {
					t.Errorf("%d connections with TLS, want the old one and one more", n)
				}
				close(goOn)
				if got := readBody(t, slow, nil); got != "onetwo" {
					t.Errorf("the answer under way: got %q", got)
				}
				r.last.eventually(t, "the old connection ends", func() bool { return r.last.e.secure() == 1 })
			})
		}
	}
}

func TestCutConnectionFailsWhatItCarries(t *testing.T) {
	app, goOn := paused(t)
	defer close(goOn)
	r := build(t, false, true, app, Config{})
	slow, err := r.client.Get(r.url + "/paused")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	r.first.e.Cut(nil, errors.New("nothing"))
	if n := len(r.first.e.Secured()); n != 1 {
		t.Fatalf("cutting nothing left %d connections, want 1", n)
	}
	r.first.e.Cut(all(r.first.e), errors.New("cut"))
	if got, err := io.ReadAll(slow.Body); err == nil {
		t.Errorf("the answer under way ended in order: %q", got)
	}
	resp, err := r.client.Get(r.url + "/now")
	if got := readBody(t, resp, err); got != "onetwo" {
		t.Errorf("a request after it: got %q", got)
	}
}

// peeked is a connection that somebody looked into.
type peeked struct{ net.Conn }

func (p peeked) NetConn() net.Conn { return p.Conn }

// TestRetiredHTTP1ConnectionSaysSo retires an HTTP/1 connection within TLS, which was wrapped after the handshake.
func TestRetiredHTTP1ConnectionSaysSo(t *testing.T) {
	app, goOn := paused(t)
	srv, cli := tlsConfigs(t)
	h := &fixed{}
	p := start(t, HTTP1, Config{}, h, func(c net.Conn) (net.Conn, error) {
		secured, err := sock.Server(context.Background(), sock.New(c, nil), srv)
		return peeked{secured}, err
	})
	h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app)}))
	raw, err := dialTo(p.addr)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, cli)
	defer c.Close()
	br := bufio.NewReader(c)
	send(t, c, "GET /paused HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(br, nil) // its head is out before it could say anything
	if err != nil {
		t.Fatal(err)
	}
	p.e.Retire(all(p.e))
	close(goOn)
	if got := readBody(t, resp, nil); got != "onetwo" {
		t.Errorf("the answer under way: got %q", got)
	}
	if n, err := br.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the answer: %d bytes, %v, want the end", n, err)
	}
}
