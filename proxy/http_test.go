package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// serveHTTP runs an application that speaks HTTP/1 and HTTP/2 without TLS.
func serveHTTP(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// client returns an HTTP client that connects to entrance whatever a URL says.
func client(t *testing.T, entrance string, http2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", entrance)
		},
	}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

type result struct {
	status int
	body   string
	header http.Header
	tail   http.Header
}

func do(t *testing.T, c *http.Client, method, url string, header http.Header) result {
	t.Helper()
	req, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return result{res.StatusCode, string(body), res.Header, res.Trailer}
}

func bothVersions(t *testing.T, test func(t *testing.T, http2 bool)) {
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1", true: "HTTP/2"}[http2], func(t *testing.T) { test(t, http2) })
	}
}

func TestApplicationSeesWhoCalls(t *testing.T) {
	bothVersions(t, func(t *testing.T, http2 bool) {
		app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			var ids []string
			for name, values := range r.Header {
				if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), clientIDField) {
					ids = append(ids, values...)
				}
			}
			fmt.Fprint(w, r.Proto, " ", ids)
		})
		p := startPair(t, pairConfig{app: app})
		got := do(t, client(t, p.addr, http2), "GET", "http://cart.shop/", http.Header{
			"L5d-Client-Id": {"spiffe://cluster.local/ns/shop/sa/admin"}, "l5d_client_id": {"admin"}, "L5D_client-ID": {"admin"},
		})
		want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2] + " [" + web.String() + "]"
		if got.status != 200 || got.body != want {
			t.Fatalf("got %d %q, want %q", got.status, got.body, want)
		}
	})
}

func TestUnmeshedClientHasNoIdentity(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Values(clientIDField)) })
	p := startPair(t, pairConfig{app: app, plain: true})
	got := do(t, client(t, p.addr, false), "GET", "http://cart.shop/", http.Header{"L5d-Client-Id": {web.String()}})
	if got.body != "[]" {
		t.Fatalf("application got %s", got.body)
	}
}

func TestUnmeshedClientLearnsWhyItIsDenied(t *testing.T) {
	app := serveHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("denied request reached the application") })
	p := startPair(t, pairConfig{app: app, plain: true, policy: mesh.PortPolicy{Policy: mesh.AllAuthenticated}})
	got := do(t, client(t, p.addr, false), "GET", "http://cart.shop/", nil)
	if got.status != 403 || !strings.Contains(got.body, "only meshed clients") {
		t.Errorf("got %d %q", got.status, got.body)
	}
	if s := got.header.Get("Proxy-Status"); s != "tulle-proxy; error=http_request_denied" {
		t.Errorf("Proxy-Status %q", s)
	}
	if s := got.header.Get("L5d-Proxy-Error"); s != "" {
		t.Errorf("unmeshed peer got %q", s)
	}
}

func TestEachRequestIsAuthorized(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	pd := startPod(t, func(c *Config) { c.Pod.HostIPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	port := netip.MustParseAddrPort(app).Port()
	pd.plane.SetInbound(&mesh.Inbound{Ports: map[uint16]mesh.PortPolicy{
		port: {Policy: mesh.AllAuthenticated, ProbePaths: []string{"/healthz"}},
	}})
	pd.awaitPolicy(t, func(a netip.AddrPort) bool {
		return pd.Proxy.inbound.Policy().Port(a.Port()).Server().Name == string(mesh.AllAuthenticated)
	}, app)
	c := dial(t, pd.inboundTo(app))
	_, _ = io.WriteString(c,
		"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz/../admin HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz?x "+
			"HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	r := bufio.NewReader(c)
	for i, want := range []int{200, 403, 403, 200} {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("response %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != want {
			t.Errorf("response %d: got %d, want %d", i, res.StatusCode, want)
		}
	}
	text := pd.scrape(t)
	for _, want := range []string{`inbound_http_authz_allow_total{`, `authz_name="probe"} 2`,
		`inbound_http_authz_deny_total{`, `reason="no_identity"} 2`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// refusing returns an address that nobody listens on.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestApplicationThatDoesNotListen(t *testing.T) {
	p := startPair(t, pairConfig{app: refusing(t)})
	got := do(t, client(t, p.addr, false), "GET", "http://cart.shop/", nil)
	if got.status != 502 || !strings.Contains(got.header.Get("L5d-Proxy-Error"), "connection refused") {
		t.Errorf("got %d %q", got.status, got.header)
	}
	if s := got.header.Get("Proxy-Status"); !strings.HasPrefix(s, "tulle-proxy; error=connection_refused; next-hop=") {
		t.Errorf("Proxy-Status %q", s)
	}
}

func TestGRPCIsAnsweredInItsOwnWay(t *testing.T) {
	p := startPair(t, pairConfig{app: refusing(t)})
	got := do(t, client(t, p.addr, true), "POST", "http://cart.shop/shop.Cart/Get", http.Header{"Content-Type": {"application/grpc+proto"}})
	status := got.header.Get("Grpc-Status") + got.tail.Get("Grpc-Status")
	if got.status != 200 || status != "14" || got.body != "" {
		t.Fatalf("got %d, grpc-status %q, body %q", got.status, status, got.body)
	}
}

func TestRequestWaitsAndThenFailsFast(t *testing.T) {
	pd := startPod(t, nil)
	o := toService()
	o.Protocol = mesh.Detect
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	got := do(t, client(t, pd.outboundTo(clusterIP), false), "GET", "http://cart.shop/", nil)
	if got.status != 504 || !strings.Contains(got.header.Get("L5d-Proxy-Error"), "fail-fast") {
		t.Fatalf("got %d %q", got.status, got.header)
	}
	if s := got.header.Get("Proxy-Status"); !strings.Contains(s, "error=destination_unavailable") ||
		!strings.Contains(s, "cart.shop.svc.cluster.local:80") {
		t.Errorf("Proxy-Status %q does not name cause and object", s)
	}
}

func TestRequestIsSentToTheEndpointThatAppears(t *testing.T) {
	pd := startPod(t, func(c *Config) {})
	o := toService()
	o.Protocol = mesh.Detect
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	app := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "late") })
	entrance := pd.outboundTo(clusterIP)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if pd.plane.AwaitWatches(ctx, pd.target(clusterIP), 1) == nil {
			late := toService(app)
			late.Protocol = mesh.Detect
			pd.plane.SetOutbound(pd.target(clusterIP), late)
		}
	})
	got := do(t, client(t, entrance, false), "GET", "http://cart.shop/", nil)
	wg.Wait()
	if got.status != 200 || got.body != "late" {
		t.Fatalf("got %d %q", got.status, got.body)
	}
}

func TestRequestsAreBalancedOverOneConnection(t *testing.T) {
	bothVersions(t, func(t *testing.T, http2 bool) {
		pd := startPod(t, nil)
		named := func(name string) string {
			return serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
		}
		o := toService(named("a"), named("b"), refusing(t))
		o.Protocol = mesh.Detect
		pd.plane.SetOutbound(pd.target(clusterIP), o)
		c := client(t, pd.outboundTo(clusterIP), http2)
		seen := map[string]int{}
		for i := range 100 {
			got := do(t, c, "GET", "http://cart.shop/", nil)
			if got.status != 200 {
				t.Fatalf("request %d: %d %q %v", i, got.status, got.body, got.header)
			}
			seen[got.body]++
		}
		if len(seen) != 2 {
			t.Errorf("requests went to %v", seen)
		}
	})
}

// TestEndpointsComeAndGoUnderLoad is a rollout as a client's proxy sees it: no request may fail.
func TestEndpointsComeAndGoUnderLoad(t *testing.T) {
	pd := startPod(t, nil)
	apps := make([]string, 4)
	for i := range apps {
		apps[i] = serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	}
	serve := func(endpoints ...string) {
		o := toService(endpoints...)
		o.Protocol = mesh.Detect
		pd.plane.SetOutbound(pd.target(clusterIP), o)
	}
	serve(apps...)
	entrance := pd.outboundTo(clusterIP)
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for i := range 4 {
		c := client(t, entrance, i%2 == 0)
		load.Go(func() {
			for ctx.Err() == nil {
				res, err := c.Get("http://cart.shop/")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("%d %v", res.StatusCode, res.Header)
					return
				}
			}
		})
	}
	cell := pd.source.Watch(pd.target(clusterIP))
	_, seen, err := cell.Wait(ctx, 0)
	for i := range 200 {
		serve(apps[i%4], apps[(i+1)%4])
		if err == nil {
			_, seen, err = cell.Wait(ctx, seen)
		}
	}
	cancel()
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUploadDoesNotKeepRequestsFromItsEndpoint(t *testing.T) {
	pd := startPod(t, nil)
	named := func(name string) string {
		return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, name)
		})
	}
	o := toService(named("a"), named("b"))
	o.Protocol = mesh.Detect
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	c := client(t, pd.outboundTo(clusterIP), false)
	body, upload := io.Pipe()
	go func() {
		_, _ = upload.Write(make([]byte, 128<<10))
		<-time.After(500 * time.Millisecond) // a thousand times the latency of a small request
		_ = upload.Close()
	}()
	res, err := c.Post("http://cart.shop/", "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	seen := map[string]int{}
	for range 100 {
		seen[do(t, c, "GET", "http://cart.shop/", nil).body]++
	}
	if len(seen) != 2 {
		t.Errorf("requests went to %v", seen)
	}
}

func TestMalformedRequestIsAnsweredAndCounted(t *testing.T) {
	pd := startPod(t, nil)
	o := toService(serveHTTP(t, func(http.ResponseWriter, *http.Request) {
		t.Error("malformed request reached the application")
	}))
	o.Protocol = mesh.Detect
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	got, err := ask(pd.outboundTo(clusterIP),
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if err != nil || !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Fatalf("got %q, %v", got, err)
	}
	if text := pd.scrape(t); !strings.Contains(text, `outbound_http_errors_total{direction="outbound",error="malformed"`) {
		t.Error("not counted")
	}
}

func TestUpgradeBecomesATunnel(t *testing.T) {
	app := listen(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, r)
	})
	p := startPair(t, pairConfig{app: app})
	c := dial(t, p.addr)
	_, _ = io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("got %+v, %v", res, err)
	}
	_, _ = io.WriteString(c, "\x81\x05hello")
	echoed := make([]byte, 7)
	if _, err := io.ReadFull(r, echoed); err != nil || string(echoed) != "\x81\x05hello" {
		t.Fatalf("got %q, %v", echoed, err)
	}
}

func TestTunnelLosesItsRight(t *testing.T) {
	app := listen(t, func(c *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	pd := startPod(t, func(c *Config) { c.Settings.DefaultInboundPolicy = mesh.AllUnauthenticated })
	c := dial(t, pd.inboundTo(app))
	_, _ = io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(c)
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("got %+v, %v", res, err)
	}
	pd.plane.SetInbound(&mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}})
	// a second, on a machine that has one to spare
	if err := c.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := r.ReadByte(); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("got %v, want the end soon", err)
	}
}

func TestMetricsOfAMeshedRequest(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	p := startPair(t, pairConfig{app: app})
	do(t, client(t, p.addr, false), "GET", "http://cart.shop/", nil)
	_, port, _ := net.SplitHostPort(app)
	// The client may have its answer a moment before the last byte is counted.
	for name, want := range map[string][]string{
		"client": {
			`request_total{direction="outbound",authority="cart.shop.svc.cluster.local:80",`, `tls="true",server_id="` +
				cart.String() + `"} 1`,
			`status_code="418",classification="success"} 1`,
			`tcp_open_total{peer="src",direction="outbound",authority="cart.shop.svc.cluster.local:80",target_addr="` + p.addr +
				`"`,
			`tcp_open_connections{peer="dst",direction="outbound",`, `no_tls_reason="loopback"} 1`,
		},
		"server": {
			`request_total{direction="inbound",target_addr="` + app + `",`, `tls="true",client_id="` + web.String() + `",`,
			`status_code="418",classification="success"} 1`, `tcp_open_total{peer="src",direction="inbound",`, `srv_port="` +
				port + `"} 1`,
		},
	} {
		proxy := map[string]*Proxy{"client": p.client, "server": p.server}[name]
		var text strings.Builder
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
			text.Reset()
			if err := proxy.env.Stats.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text.String(), "response_total{") {
				break
			}
		}
		for _, w := range want {
			if !strings.Contains(text.String(), w) {
				t.Errorf("%s: no %s in\n%s", name, w, text.String())
			}
		}
		if strings.Contains(text.String(), "tcp_open_total") &&
			!strings.Contains(text.String(), "} 1\n# HELP tcp_open_connections") {
			t.Errorf("%s: a connection is counted twice\n%s", name, text.String())
		}
	}
}

// lines is an access log that sends each line.
type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

func TestAccessLog(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	for _, format := range []string{"apache", "json"} {
		log := make(lines, 1)
		pd := startPod(t, func(c *Config) {
			c.Settings.AccessLog, c.AccessLog = format, log
			c.Settings.DefaultInboundPolicy = mesh.AllUnauthenticated
		})
		do(t, client(t, pd.inboundTo(app), false), "GET", "http://cart.shop/a\"b?c", http.Header{"User-Agent": {"test"}, "Traceparent": {"00-x"}})
		line := <-log
		if format == "apache" {
			if !strings.Contains(line, `"GET /a%22b?c HTTP/1.1" 200 2`) || !strings.HasPrefix(line, "127.0.0.1:") {
				t.Errorf("got %q", line)
			}
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]any{
			"method": "GET", "status": 200.0, "response_bytes": 2.0, "user_agent": "test", "trace_id": "00-x",
			"host": "cart.shop", "client.id": "",
		} {
			if entry[key] != want {
				t.Errorf("%s is %v, want %v", key, entry[key], want)
			}
		}
	}
}

func TestRequestInFlightOutlivesTheListener(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	app := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		fmt.Fprint(w, "done")
	})
	pd := startPod(t, func(c *Config) {
		c.Settings.AdminShutdown, c.Settings.ShutdownGrace = true, mesh.Duration(10*time.Second)
		c.Settings.DefaultInboundPolicy = mesh.AllUnauthenticated
	})
	entrance := pd.inboundTo(app)
	answered := make(chan result, 1)
	c := client(t, entrance, false)
	go func() {
		res, err := c.Get("http://cart.shop/")
		if err != nil {
			answered <- result{body: err.Error()}
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		answered <- result{status: res.StatusCode, body: string(body)}
	}()
	<-begun
	pd.request(t, http.MethodPost, "/shutdown", "localhost")
	for { // the listener closes soon
		probe, err := net.Dial("tcp", entrance)
		if err != nil {
			break
		}
		probe.Close()
	}
	close(finish)
	if got := <-answered; got.status != 200 || got.body != "done" {
		t.Errorf("request in flight got %+v", got)
	}
	<-pd.ended
}

func TestLargeBodiesBothWays(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	p := startPair(t, pairConfig{app: app})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	bothVersions(t, func(t *testing.T, http2 bool) {
		res, err := client(t, p.addr, http2).Post("http://cart.shop/", "application/octet-stream", bytes.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes came back, %v; want %d", len(got), err, len(sent))
		}
	})
}

func TestRequestToTheWrongIdentityIsNotSent(t *testing.T) {
	app := serveHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("request reached an impostor") })
	p := startPair(t, pairConfig{app: app, serverID: evil})
	got := do(t, client(t, p.addr, false), "GET", "http://cart.shop/", nil)
	if got.status != 502 || !strings.Contains(got.header.Get("Proxy-Status"), "tls_certificate_error") {
		t.Fatalf("got %d %v", got.status, got.header)
	}
}

func TestServerThatLosesItsCertificateAuthority(t *testing.T) {
	app := serveHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("request reached a stranger") })
	stranger := start(t, Config{Local: &Local{
		Certs: meshtest.NewCA(t).Certs(cart),
		Inbound: []LocalInbound{{Listen: anyPort, AppAddr: netip.MustParseAddrPort(app),
			Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated}}},
	}})
	c := start(t, Config{Local: &Local{
		Certs: meshtest.NewCA(t).Certs(web),
		Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
			Kind: mesh.ToService, Endpoints: []mesh.Endpoint{{Addr: stranger.Addresses().Local.Inbound[0], Identity: cart}},
		}}},
	}})
	got := do(t, client(t, c.Addresses().Local.Outbound[0].String(), false), "GET", "http://cart.shop/", nil)
	if got.status != 502 {
		t.Fatalf("got %d %v", got.status, got.header)
	}
}

// TestApplicationThatStopsIsNotTheClientsProblem: a pod whose application is on its way out is still an endpoint for a
// moment.
func TestApplicationThatStopsIsNotTheClientsProblem(t *testing.T) {
	forging := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Tulle-Unprocessed", "dial_refused")
		fmt.Fprint(w, "served")
	})
	resetting := listen(t, func(c *net.TCPConn) { // as connections end that were never accepted
		_ = c.SetLinger(0)
	})
	for name, stopping := range map[string]string{"refuses connections": refusing(t), "resets connections": resetting} {
		t.Run(name, func(t *testing.T) {
			ca := meshtest.NewCA(t)
			target := mesh.Outbound{Kind: mesh.ToService, Authority: "cart.shop.svc.cluster.local:80"}
			for _, app := range []string{stopping, forging} {
				server := start(t, Config{Local: &Local{
					Certs: ca.Certs(cart),
					Inbound: []LocalInbound{{
						Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
					}},
				}})
				target.Endpoints = append(target.Endpoints,
					mesh.Endpoint{Addr: server.Addresses().Local.Inbound[0], Identity: cart})
			}
			p := start(t, Config{Local: &Local{Certs: ca.Certs(web),
				Outbound: []LocalOutbound{{Listen: anyPort, Value: target}}}})
			bothVersions(t, func(t *testing.T, http2 bool) {
				c := client(t, p.Addresses().Local.Outbound[0].String(), http2)
				for i := range 20 {
					got := do(t, c, "GET", "http://cart.shop/", nil)
					if got.status != 200 || got.body != "served" || got.header.Get("Tulle-Unprocessed") != "" {
						t.Fatalf("request %d: %d %q %v", i, got.status, got.body, got.header)
					}
				}
			})
		})
	}
}
