package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/h2"
)

// listener makes the attacker able to read header lists.
func (a *attacker) listen() *attacker {
	a.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return a
}

// open sends a request with exactly these fields.
func (a *attacker) open(id uint32, end bool, fields ...string) {
	_ = a.WriteHeaders(
		http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block(fields...), EndStream: end, EndHeaders: true},
	)
}

// response reads the head and body that answer a stream; a reset gives its code as the status.
func (a *attacker) response(t *testing.T, id uint32) (status, body string) {
	t.Helper()
	var b strings.Builder
	for {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatalf("stream %d: %v", id, err)
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if s := f.PseudoValue("status"); s != "" {
				status = s
			}
			if f.StreamEnded() {
				return status, b.String()
			}
		case *http2.DataFrame:
			b.Write(f.Data())
			if f.StreamEnded() {
				return status, b.String()
			}
		case *http2.RSTStreamFrame:
			return f.ErrCode.String(), b.String()
		}
	}
}

// seeing runs an application that reads HTTP/1 requests itself, notes their targets, and answers each with its own
// target.
type seeing struct {
	addr string
	mu   sync.Mutex
	seen []string
}

func see(t *testing.T, respond func(req *http.Request) string) *seeing {
	s := &seeing{}
	s.addr = rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			s.mu.Lock()
			s.seen = append(s.seen, req.RequestURI)
			s.mu.Unlock()
			if _, err := io.WriteString(c, respond(req)); err != nil {
				return
			}
		}
	})
	return s
}

func (s *seeing) targets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

func ownTarget(req *http.Request) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.RequestURI), req.RequestURI)
}

// What a client sends before its upgrade was accepted is no request, and must not become one when it is refused.
func TestRefusedTunnelSmugglesNothing(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, head := range map[string][]string{
		"upgrade": {
			":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a", ":path", "/chat",
			h2.OrigProto, "HTTP/1.1",
		},
		"CONNECT": {":method", "CONNECT", ":authority", "a:80", h2.OrigProto, "HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			app := see(t, func(req *http.Request) string {
				if req.Method == "CONNECT" {
					return "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
				}
				return ownTarget(req)
			})
			h := &fixed{}
			p := start(t, Mux, Config{}, h, nil)
			h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app.addr)}))
			a := attack(t, p.addr).listen()
			a.open(1, false, head...)
			_ = a.WriteData(1, false, []byte(smuggled))
			if status, _ := a.response(t, 1); status == "" {
				t.Error("no answer")
			}
			for id := uint32(3); id < 9; id += 2 {
				a.open(
					id,
					true,
					":method",
					"GET",
					":scheme",
					"http",
					":authority",
					"a",
					":path",
					"/next",
					h2.OrigProto,
					"HTTP/1.1",
				)
				if _, got := a.response(t, id); got != "/next" {
					t.Errorf("the next request was answered %q", got)
				}
			}
			for _, target := range app.targets() {
				if target == "/smuggled" {
					t.Error("the application got the smuggled request")
				}
			}
		})
	}
}

// Clients that speak HTTP/2 and were HTTP/1 once send both, and not always in one spelling (RFC 9113 §8.3.1).
func TestApplicationGetsOneAuthority(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	for _, c := range []struct{ authority, host, status, want string }{
		{"a", "a:80", "200", "a"},
		{"a:80", "A", "200", "a:80"},
		{"a", "a:", "200", "a"},
		{"a", "b:80", "PROTOCOL_ERROR", ""},
		{"a", "a:8080", "PROTOCOL_ERROR", ""},
	} {
		a := attack(t, build(t, true, true, app, Config{}).first.addr).listen()
		a.open(1, true, ":method", "GET", ":scheme", "http", ":authority", c.authority, ":path", "/", "host", c.host)
		if status, got := a.response(t, 1); status != c.status || got != c.want {
			t.Errorf(
				":authority %s, host %s: got %s %q, want %s %q",
				c.authority,
				c.host,
				status,
				got,
				c.status,
				c.want,
			)
		}
	}
}

// A peer must not turn its connection into one whose requests nobody authorizes.
func TestNoTunnelOfRequests(t *testing.T) {
	for _, protocol := range []string{"h2c", "websocket, h2c", "TLS/1.0"} {
		app := see(t, ownTarget)
		h := &fixed{}
		p := start(t, Mux, Config{}, h, nil)
		h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app.addr)}))
		a := attack(t, p.addr)
		_ = a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: a.block(
			":method",
			"CONNECT",
			":protocol",
			protocol,
			":scheme",
			"http",
			":authority",
			"a",
			":path",
			"/chat",
			h2.OrigProto,
			"HTTP/1.1",
		)})
		for {
			f, err := a.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			if _, answered := f.(*http2.HeadersFrame); answered {
				t.Errorf("%s: answered", protocol)
			}
			if f.Header().StreamID == 1 {
				break
			}
		}
		if got := app.targets(); len(got) > 0 {
			t.Errorf("%s: the application got %v", protocol, got)
		}
	}
}

// A response that nobody asked for must not answer the request that takes the connection next.
func TestUnsolicitedResponseAnswersNobody(t *testing.T) {
	app := see(t, func(req *http.Request) string {
		return ownTarget(req) + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
	})
	h := &fixed{}
	p := start(t, HTTP1, Config{}, h, nil)
	h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app.addr), MaxConns: 1}))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := fmt.Sprint("/", i)
			resp, err := http.Post("http://"+p.addr+want, "", nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 502 && string(got) != want {
				t.Errorf("%s was answered %d %q", want, resp.StatusCode, got)
			}
		})
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
}

// Tunnels have connections of their own; they must not use up those that requests share.
func TestTunnelsLeaveRoomForRequests(t *testing.T) {
	h := &fixed{}
	far := start(t, Mux, Config{}, h, nil)
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			return
		}
		_, _ = io.WriteString(
			c,
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		)
		_, _ = io.Copy(c, br)
	})
	h.to.Store(far.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app)}))
	nearHandler := &fixed{}
	near := start(t, HTTP1, Config{}, nearHandler, nil)
	nearHandler.to.Store(near.e.NewUpstream(UpstreamConfig{Protocol: Mux, Dial: dialTo(far.addr)}))
	r := &route{first: near, last: far, url: "http://" + near.addr}
	for range maxShared + 1 {
		c, br := r.connect(t)
		send(t, c, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = receive(t, br, "GET", 101)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(r.url + "/")
	if got := readBody(t, resp, err); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestEmptyLineBetweenRequestsMayComeInTwoPieces(t *testing.T) {
	h1Pairs(t, see(t, ownTarget).addr, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		send(t, c, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r")
		_ = readBody(t, receive(t, br, "GET", 200), nil)
		send(t, c, "\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := readBody(t, receive(t, br, "GET", 200), nil); got != "/2" {
			t.Errorf("got %q", got)
		}
	})
}

// A client that was not told to go on may send its next request instead of the body: neither may be taken for the
// other.
func TestRefusedExpectationEndsTheConnection(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, br)
		}
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		c, br := r.connect(t)
		send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
		if resp := receive(t, br, "POST", 403); !resp.Close {
			t.Error("the connection goes on")
		}
	})
}

// What a server sends in the place of a body that its response cannot have is no response to anyone.
func TestBodyWhereThereIsNoneIsAFault(t *testing.T) {
	l := listen(t)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveBodies(c)
		}
	}()
	r := build(t, true, false, l.Addr().String(), Config{})
	a := attack(t, r.first.addr).listen()
	a.open(1, true, ":method", "HEAD", ":scheme", "http", ":authority", "a", ":path", "/")
	if status, got := a.response(t, 1); got != "" {
		t.Errorf("HEAD got %s %q", status, got)
	}
}

// serveBodies answers every request with a body.
func serveBodies(c net.Conn) {
	defer c.Close()
	respondHTTP2(c, func(a *attacker, id uint32) {
		a.open(id, false, ":status", "200")
		_ = a.WriteData(id, true, []byte("HTTP/1.1 200 OK\r\n\r\n"))
	})
}

// respondHTTP2 is a server's side of c until that ends; respond is called with each request's stream.
func respondHTTP2(c net.Conn, respond func(a *attacker, id uint32)) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	a := &attacker{Framer: http2.NewFramer(c, c), c: c}
	a.enc = hpack.NewEncoder(&a.buf)
	_ = a.WriteSettings()
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			respond(a, h.StreamID)
		}
	}
}

// CONNECT has no body: a server that looks for one takes the next request for it.
func TestConnectWithABodySmugglesNothing(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			response := ownTarget(req)
			if req.Method == "CONNECT" {
				response = "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
			}
			_, _ = io.WriteString(c, response) // the body comes when it comes
			_, _ = io.Copy(io.Discard, req.Body)
		}
	})
	next := []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/next", h2.OrigProto, "HTTP/1.1"}
	t.Run("mux", func(t *testing.T) {
		h := &fixed{}
		p := start(t, Mux, Config{}, h, nil)
		h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app)}))
		a := attack(t, p.addr).listen()
		a.open(1, false, ":method", "CONNECT", ":authority", "a:80", h2.OrigProto, "HTTP/1.1", "content-length", "5")
		_, _ = a.response(t, 1)
		a.open(3, true, next...)
		if status, got := a.response(t, 3); got != "/next" {
			t.Errorf("the next request was answered %s %q", status, got)
		}
	})
	h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
		for _, framing := range []string{"Content-Length: 5", "Transfer-Encoding: chunked"} {
			c, br := r.connect(t)
			send(t, c, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n"+framing+"\r\n\r\n")
			_ = receive(t, br, "GET", 400)
		}
	})
}

// A response that nobody asked for waits behind one that is read slowly.
func TestUnsolicitedResponseBehindASlowOneAnswersNobody(t *testing.T) {
	const size = 100_000
	app := rawApp(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.RequestURI != "/slow" {
				_, _ = io.WriteString(c, ownTarget(req))
				continue
			}
			_, _ = fmt.Fprintf(
				c,
				"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
				size,
				strings.Repeat("x", size),
			)
		}
	})
	h := &fixed{}
	p := start(t, HTTP2, Config{}, h, nil)
	h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app), MaxConns: 1}))
	a := attack(t, p.addr).listen()
	a.open(1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/slow")
	p.eventually(t, "the response is there", func() bool { return p.e.queued >= size-65_535 })
	a.open(3, true, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/next")
	_ = a.WriteWindowUpdate(0, size)
	_ = a.WriteWindowUpdate(1, size)
	if status, got := a.response(t, 3); got != "/next" && status != "502" {
		t.Errorf("the next request was answered %s %q", status, got)
	}
}

// What a plaintext client says was HTTP/1 must be nothing that it could not have sent as HTTP/1.
func TestRestoredHTTP1IsWhatHTTP1Allows(t *testing.T) {
	app := see(t, ownTarget)
	h := &fixed{}
	p := start(t, HTTP2, Config{RestoreHTTP1: true}, h, nil)
	h.to.Store(p.e.NewUpstream(UpstreamConfig{Protocol: HTTP1, Dial: dialTo(app.addr)}))
	a := attack(t, p.addr).listen()
	const absolute = "HTTP/1.1; absolute-form"
	for i, c := range []struct {
		name   string
		fields []string
		want   string // target that the application sees; "" if it must see nothing
	}{
		{
			"absolute form",
			[]string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/x", h2.OrigProto, absolute},
			"https://a/x",
		},
		{
			"another scheme",
			[]string{":method", "GET", ":scheme", "file", ":authority", "a", ":path", "/x", h2.OrigProto, absolute}, "/x",
		},
		{"no authority", []string{":method", "GET", ":scheme", "http", ":path", "/x", h2.OrigProto, absolute}, "/x"},
		{
			"two authorities",
			[]string{":method", "GET", ":scheme", "http", ":authority", "a",
				":path", "/x", "host", "b", h2.OrigProto, absolute}, "",
		},
		{
			"spaces",
			[]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/x HTTP/1.1", h2.OrigProto, "HTTP/1.1"},
			"",
		},
		{
			"a line",
			[]string{":method", "GET", ":scheme", "http", ":authority", "a",
				":path", "/x", "x", "1\r\ny: 2", h2.OrigProto, "HTTP/1.1"}, "",
		},
		{
			"a coding",
			[]string{":method", "GET", ":scheme", "http", ":authority", "a",
				":path", "/x", "transfer-encoding", "chunked", h2.OrigProto, "HTTP/1.1"}, "",
		},
		{
			"an upgrade",
			[]string{":method", "GET", ":scheme", "http", ":authority", "a",
				":path", "/x", "upgrade", "h2c", h2.OrigProto, "HTTP/1.1"}, "",
		},
		{"extended CONNECT", []string{
			":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a", ":path", "/x",
			h2.OrigProto, "HTTP/1.1"}, ""},
	} {
		before := len(app.targets())
		a.open(uint32(2*i+1), true, c.fields...)
		status, body := a.response(t, uint32(2*i+1))
		if seen := len(app.targets()) - before; body != c.want || (seen > 0) != (c.want != "") {
			t.Errorf("%s: answered %s %q, and the application saw %d requests", c.name, status, body, seen)
		}
	}
}
