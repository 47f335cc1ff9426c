package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// A connection that is authenticated as its client's stays with him also while both are silent.
func TestBoundConnectionIsNotLeftBehindWhenItsClientIsSilent(t *testing.T) {
	gone := make(chan struct{})
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		defer close(gone)
		for {
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	r := startIdle(t, 20*time.Millisecond)
	h := r.e.handler.(*fixed)
	h.to.Store(r.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app)}))
	done := r.serve()
	r.ask(t, "GET / HTTP/1.1\r\nhost: a\r\nauthorization: NTLM TlRMTVNTUAAB\r\n\r\n", "")
	select {
	case err := <-done:
		t.Errorf("Serve: %v, want the connection to be kept with its server's", err)
	case <-time.After(150 * time.Millisecond): // several times IdleAfter: nothing may happen meanwhile
	}
	r.client.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the server's connection outlives its client's")
	}
}

// A trailer section of HTTP/1 is counted as a head is, RFC 9113 §6.5.2: between proxies it becomes HTTP/2.
func TestManySmallTrailersAreTooLarge(t *testing.T) {
	trailers := strings.Repeat("a:b\r\n", 6000) // 30 KB, 204 KB as HTTP/2 counts them
	chunked := "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + trailers + "\r\n"
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if req.URL.Path == "/response" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+chunked)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for name, c := range map[string]struct {
		request string
		status  int
		fault   string
	}{
		"of a response": {
			"GET /response HTTP/1.1\r\nHost: a\r\n\r\n", 502,
			fmt.Sprint(exchange.ResponseTooLarge, "/", trailersTooLarge),
		},
		"of a request": {
			"POST / HTTP/1.1\r\nHost: a\r\n" + chunked, 431, fmt.Sprint(exchange.HeadTooLarge, "/", trailersTooLarge),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, false, false, app, Config{})
			conn, br := r.connect(t)
			send(t, conn, c.request)
			resp, err := http.ReadResponse(br, nil)
			if readBody(t, resp, err); resp.StatusCode != c.status || resp.Header.Get("X-Fault") != c.fault {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, resp.Header.Get("X-Fault"), c.status, c.fault)
			}
		})
	}
}
