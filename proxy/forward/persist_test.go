package forward

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/h1"
)

// Some servers close behind every response without saying so, such as tinyproxy. Requests that cannot be sent twice
// must not be lost on connections that are about to end. The end comes a moment after the response: RFC 9112 §9.5.
func TestServerThatClosesWithoutSayingSo(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		<-time.After(2 * time.Millisecond) // what the network takes
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		r.last.freeze() // however slow the machine is, no connection comes through its probation
		for n := range 100 {
			if n%10 == 0 { // requests that can be sent twice do not prove that the server keeps connections open
				resp, err := r.client.Get(r.url)
				_ = readBody(t, resp, err)
			}
			if status, got, err := r.upload("x"); status != 200 || got != "ok" || err != nil {
				t.Fatalf("request %d: %d %q, %v", n, status, got, err)
			}
		}
	})
}

// A server that does keep connections open gets few: it is trusted once it answered on a used one.
func TestServerThatPersistsIsTrusted(t *testing.T) {
	var conns atomic.Int64
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		conns.Add(1)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	r := build(t, false, false, app, Config{})
	for range 2 {
		if status, _, err := r.upload("x"); status != 200 {
			t.Fatal(status, err)
		}
		<-time.After(2 * h1.Probation) // the connection proves itself by staying open
	}
	for range 200 {
		if status, _, err := r.upload("x"); status != 200 {
			t.Fatal(status, err)
		}
	}
	if got := conns.Load(); got > 40 { // a response may reach the client before its connection is idle
		t.Errorf("the server got %d connections for 200 requests one after the other", got)
	}
}

// A server that refuses a large body says so early, does not read the body and closes later. The connection is not used
// again, though all of the body fits into the sockets' buffers.
func TestConnectionOfARefusedLargeBodyIsNotUsedAgain(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.ContentLength > h1.LargeBody {
				_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
				<-time.After(3 * h1.Quarantine)
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	large := strings.Repeat("x", 200<<10)
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		for range 3 {
			if status, _, err := r.upload(large); status != 413 {
				t.Fatalf("refused upload: %d, %v", status, err)
			}
			<-time.After(h1.Quarantine + 50*time.Millisecond) // a quarantined connection is used again after this time
			if status, _, err := r.upload("x"); status != 200 {
				t.Fatalf("next request: %d, %v", status, err)
			}
		}
	})
}
