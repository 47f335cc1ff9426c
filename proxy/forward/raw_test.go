package forward

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// connect opens a connection to the first proxy of the way and bounds the test.
func (r *route) connect(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", r.first.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// receive reads a response head and checks its status.
func receive(t testing.TB, br *bufio.Reader, method string, status int) *http.Response {
	t.Helper()
	req, _ := http.NewRequest(method, "/", nil)
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("status %d, want %d", resp.StatusCode, status)
	}
	return resp
}

// rawApp runs an application that is a function of each connection.
func rawApp(t testing.TB, serve func(n int, c net.Conn, br *bufio.Reader)) string {
	t.Helper()
	l := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			wg.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// h1Pairs are the ways of HTTP/1.
func h1Pairs(t *testing.T, app string, cfg Config, test func(t *testing.T, r *route)) {
	for _, p := range pairs {
		if !p.http2 {
			t.Run(p.name, func(t *testing.T) { test(t, build(t, false, p.meshed, app, cfg)) })
		}
	}
}

func TestUpgradeBecomesATunnel(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Connection") != "Upgrade" ||
			req.Header.Get("Sec-Websocket-Key") != "k" {
			t.Errorf("the application got %v", req.Header)
		}
		_, _ = io.WriteString(
			c,
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: b\r\n\r\nhello ",
		)
		_, _ = io.Copy(c, br)
		_, _ = io.WriteString(c, "bye")
		_ = c.(*net.TCPConn).CloseWrite()
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		send(
			t,
			c,
			"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"+
				"Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
		)
		resp := receive(t, br, "GET", 101)
		if resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("X-A") != "b" ||
			resp.Header.Get(h2.Upgraded) != "" {
			t.Errorf("the client got %v", resp.Header)
		}
		want := strings.Repeat("0123456789", 200_000)
		go func() {
			_, _ = io.WriteString(c, want)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(br)
		if err != nil || string(got) != "hello "+want+"bye" {
			t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want)+9)
		}
	})
}

func TestRefusedUpgradeIsAnOrdinaryExchange(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		for _, path := range []string{"/1", "/2"} {
			send(t, c, "GET "+path+" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			resp := receive(t, br, "GET", 200)
			if got := readBody(t, resp, nil); got != path {
				t.Errorf("got %q", got)
			}
		}
	})
}

func TestConnectBecomesATunnel(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Method != "CONNECT" || req.RequestURI != "db:5432" {
			t.Errorf("the application got %s %s", req.Method, req.RequestURI)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(c, br)
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		send(t, c, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n")
		_ = receive(t, br, "CONNECT", 200)
		send(t, c, "ping")
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(br); err != nil || string(got) != "ping" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// What HTTP/2 between the proxies does not carry must be there again at the application.
func TestHTTP1IsRestoredFaithfully(t *testing.T) {
	got := make(chan string, 1)
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		var head strings.Builder
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if head.WriteString(line); line == "\r\n" {
				break
			}
		}
		got <- head.String()
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nuntil close")
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		for _, c := range []struct{ in, want string }{
			{"GET /a?b HTTP/1.0\r\n\r\n", "GET /a?b HTTP/1.0\r\n"},
			{"GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", "GET /a HTTP/1.0\r\nHost: h\r\n"},
			{
				"GET http://h/a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n",
				"GET http://h/a HTTP/1.1\r\nHost: h\r\nx-a: 1\r\n",
			},
			{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n"},
			{
				"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
				"GET / HTTP/1.1\r\nHost: h\r\nte: trailers\r\nConnection: TE\r\n",
			},
		} {
			conn, br := r.connect(t)
			send(t, conn, c.in)
			resp := receive(t, br, "GET", 200)
			if b := readBody(t, resp, nil); b != "until close" {
				t.Errorf("%q: body %q", c.in, b)
			}
			head := strings.TrimSuffix(<-got, "\r\n")
			head = strings.Replace(strings.Replace(head, "X-A", "x-a", 1), "Connection: keep-alive\r\n", "", 1)
			if head != c.want {
				t.Errorf("%q arrived as %q, want %q", c.in, head, c.want)
			}
			conn.Close()
		}
	})
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		var all strings.Builder
		for i := range 20 {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		}
		send(t, c, all.String())
		for i := range 20 {
			if got := readBody(t, receive(t, br, "GET", 200), nil); got != fmt.Sprint("/", i) {
				t.Errorf("response %d is %q", i, got)
			}
		}
	})
}

func TestClientMayHalfClose(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s", b)
	}))
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(br); err != nil || !bytes.HasSuffix(got, []byte("got hi")) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestBrokenRequestsNeverReachTheApplication(t *testing.T) {
	app := serveApp(
		t,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Errorf("got %s %s", r.Method, r.URL) }),
	)
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		for in, want := range map[string]struct {
			status int
			fault  string
		}{
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": {
				400, "malformed/te_and_cl",
			},
			"GET / HTTP/1.1\nHost: a\n\n": {400, "malformed/bare_lf"},
			"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 70_000) + "\r\n\r\n": {
				431, "head_too_large/head_too_large",
			},
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n": {
				501, "unsupported/transfer_encoding",
			},
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": {
				400, "malformed/chunk_size",
			},
			"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n": {
				400, "malformed/duplicate_host",
			},
		} {
			if want.fault == "malformed/chunk_size" {
				continue // the head is good: the application sees the request begin
			}
			c, br := r.connect(t)
			send(t, c, in)
			resp := receive(t, br, "GET", want.status)
			if got := resp.Header.Get("X-Fault"); got != want.fault || !resp.Close {
				t.Errorf("%.40q: fault %q, close %v; want %q", in, got, resp.Close, want.fault)
			}
			_ = readBody(t, resp, nil)
			if _, err := br.ReadByte(); err != io.EOF {
				t.Errorf("%.40q: after the response: %v, want EOF", in, err)
			}
		}
	})
}

func TestSlowHeadTimesOut(t *testing.T) {
	r := build(t, false, false, "127.0.0.1:1", Config{HeadTimeout: 50 * time.Millisecond})
	c, br := r.connect(t)
	send(t, c, "GET / HTTP/1.1\r\nHos")
	resp := receive(t, br, "GET", 408)
	_ = readBody(t, resp, nil)
}

func TestStaleConnectionIsRetried(t *testing.T) {
	app := rawApp(t, func(n int, c net.Conn, br *bufio.Reader) {
		for i := 0; ; i++ {
			req, err := http.ReadRequest(br)
			if err != nil || n == 0 && i == 1 {
				return // the first connection dies on its second request, without a word
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.URL.Path), req.URL.Path)
		}
	})
	r := build(t, false, false, app, Config{})
	r.first.onFault(func(x *exchange.Exchange, f exchange.Fault) Action {
		if !f.SafeToResend || f.Kind != exchange.Lost {
			t.Errorf("got %v", f)
		}
		return Forward(r.first.h.to.Load())
	})
	for _, path := range []string{"/1", "/2", "/3"} {
		resp, err := r.client.Get(r.url + path)
		if got := readBody(t, resp, err); got != path {
			t.Errorf("got %q", got)
		}
	}
}

func TestDeadUpstreamIsAFault(t *testing.T) {
	// Linux gives ports up to 60999 to sockets that do not choose one: a free one of those may be taken meanwhile.
	addr := "127.0.0.1:61001"
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, addr, Config{})
			resp, err := r.client.Get(r.url + "/")
			if got := readBody(t, resp, err); resp.StatusCode != 502 || got != "dial_refused" {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
		})
	}
}

func TestWaitingExchangeGoesOnWhenKicked(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "late") }))
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, app, Config{})
			u := r.first.h.to.Swap(nil)
			waits := make(chan struct{}, 1)
			r.first.onRoute(func(*exchange.Exchange) {
				select {
				case waits <- struct{}{}:
				default:
				}
			})
			go func() {
				<-waits
				r.first.h.to.Store(u)
				r.first.e.Kick()
			}()
			resp, err := r.client.Get(r.url + "/")
			if got := readBody(t, resp, err); got != "late" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWaitingExchangeFailsFast(t *testing.T) {
	r := build(t, false, false, "", Config{EndpointTimeout: 30 * time.Millisecond})
	r.first.h.to.Store(nil)
	resp, err := r.client.Get(r.url + "/")
	if got := readBody(t, resp, err); resp.StatusCode != 504 || got != "no_endpoint" {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
}

func TestDeadlineOfTheAnswer(t *testing.T) {
	release := make(chan struct{})
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer close(release)
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, app, Config{})
			r.first.onRoute(func(x *exchange.Exchange) { x.Timeouts.Response = 30 * time.Millisecond })
			resp, err := r.client.Get(r.url + "/")
			if got := readBody(t, resp, err); resp.StatusCode != 504 || got != "timeout" {
				t.Errorf("got %d %q", resp.StatusCode, got)
			}
		})
	}
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-release
		fmt.Fprint(w, "done")
	}))
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, app, Config{})
			got := make(chan string, 1)
			go func() {
				resp, err := r.client.Get(r.url + "/")
				if err != nil {
					got <- err.Error()
					return
				}
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				got <- string(b)
			}()
			<-started
			drained := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			go func() { drained <- r.first.e.Drain(ctx) }()
			release <- struct{}{}
			if b := <-got; b != "done" {
				t.Errorf("got %q", b)
			}
			if err := <-drained; err != nil {
				t.Errorf("Drain: %v", err)
			}
		})
	}
}

// An idle connection may wake up when everything is drained already.
func TestConnectionsThatComeAfterADrainAreClosed(t *testing.T) {
	r := build(t, false, false, "127.0.0.1:1", Config{})
	if err := r.first.e.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, br := r.connect(t)
		if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of the connection", err)
		}
	}
	if err := r.first.e.Drain(t.Context()); err != nil {
		t.Errorf("a second drain: %v", err)
	}
}

// A reader that does not read must not make the engine hold more than a window for it, nor stop the others.
func TestSlowReadersAreBounded(t *testing.T) {
	app := serveApp(t, app())
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, app, Config{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range 16 {
				req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/bytes/1000000000", nil)
				resp, err := r.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				_, _ = io.ReadFull(resp.Body, make([]byte, 1<<20))
			}
			for range 20 {
				resp, err := r.client.Get(r.url + "/bytes/100000")
				if got := readBody(t, resp, err); len(got) != 100000 {
					t.Fatalf("got %d bytes", len(got))
				}
			}
			for _, e := range []*Engine{r.first.e, r.last.e} {
				e.mu.Lock()
				queued := e.queued
				for c := range e.conns {
					queued += c.sendBuffer.Size() + c.sending.Size()
				}
				e.mu.Unlock()
				if limit := e.cfg.MaxQueuedBytes + 40*sendBufferRoom; queued > limit {
					t.Errorf("%d bytes are held, want at most %d", queued, limit)
				}
			}
		})
	}
}

func TestEveryExchangeEndsOnce(t *testing.T) {
	app := serveApp(t, app())
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, app, Config{})
			for range 100 {
				resp, err := r.client.Get(r.url + "/echo")
				_ = readBody(t, resp, err)
			}
			for _, q := range []*proxy{r.first, r.last} {
				q.e.mu.Lock()
				inFlight := q.e.inFlight
				q.e.mu.Unlock()
				if ends := q.h.ends.Load(); ends != 100 || inFlight != 0 {
					t.Errorf("%d ends of 100, %d in flight", ends, inFlight)
				}
			}
		})
	}
}
