package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/mesh"
)

// exchangeRaw sends text on a new connection and returns the statuses of the answers.
func exchangeRaw(t *testing.T, addr, text string, answers int) (statuses []int, bodies []string) {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for range answers {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		statuses, bodies = append(statuses, res.StatusCode), append(bodies, string(body))
	}
	return statuses, bodies
}

func TestProxyHeaderOfAStrangerMeansNothing(t *testing.T) {
	g := startGuarded(t)
	g.set(t, only(networked(authorize(mesh.AnyClients), "10.0.0.0/8")))
	for name, header := range map[string]string{
		"version 1": "PROXY TCP4 10.1.2.3 10.1.2.4 1000 80\r\n",
		"version 2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x01\x02\x04\x03\xe8\x00\x50",
	} {
		if got, err := ask(g.http.String(), header+
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); strings.Contains(got, " 200 ") || err == nil &&
			got == "" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestIdentityIsNotWhatAClientSays(t *testing.T) {
	g := startGuarded(t, web)
	g.set(t, only(authorize(mesh.NamedClients, cart)))
	spoofed := "L5d-Client-Id: " + cart.String() + "\r\nl5d_client_id: " + cart.String() +
		"\r\nX-Forwarded-Client-Cert: URI=" + cart.String() +
		"\r\nConnection: l5d-client-id\r\n\r\n"
	for _, id := range []mesh.ID{web, nobody} {
		if got, _ := exchangeRaw(t, g.entrance(id, true), "GET / HTTP/1.1\r\nHost: a\r\n"+spoofed, 1); got[0] != 403 {
			t.Errorf("%q: got %d", id, got[0])
		}
	}
	g.set(t, only(authorize(mesh.AnyClients)))
	for _, id := range []mesh.ID{web, nobody} {
		_, got := exchangeRaw(t, g.entrance(id, true), "GET / HTTP/1.1\r\nHost: a\r\n"+spoofed, 1)
		if got, _, _ := strings.Cut(got[0], " "); got != id.String() {
			t.Errorf("application got %q of %q", got, id)
		}
	}
}

// TestSplitPreface sends the preface of HTTP/2 byte by byte: it stays an HTTP connection.
func TestSplitPreface(t *testing.T) {
	g := startGuarded(t)
	g.set(t, probing(only()))
	c := dial(t, g.http.String())
	for _, b := range []byte(http2.ClientPreface) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if got := h2Statuses(t, c, "/"); got[0] != "403" {
		t.Errorf("got %v", got)
	}
}

// h2Statuses makes one request for each path on an HTTP/2 connection whose preface was sent, all at once, and returns
// the statuses.
func h2Statuses(t *testing.T, c net.Conn, paths ...string) []string {
	t.Helper()
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for i, path := range paths {
		block.Reset()
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "cart.shop"}, {":path", path}} {
			if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
				t.Fatal(err)
			}
		}
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: []byte(block.String()),
			EndStream: true, EndHeaders: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	out, seen := make([]string, len(paths)), 0
	for seen < len(paths) {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("after %v: %v", out, err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status := frame.PseudoValue("status"); status != "" {
				out[frame.StreamID/2] = status
				seen++
			}
		case *http2.RSTStreamFrame:
			out[frame.StreamID/2] = frame.ErrCode.String()
			seen++
		}
	}
	return out
}

// TestEachRequestOfAConnectionIsDecidedOn sends allowed, denied and allowed requests at once.
func TestEachRequestOfAConnectionIsDecidedOn(t *testing.T) {
	g := startGuarded(t, web)
	g.set(t, byRoute())
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	for _, id := range []mesh.ID{nobody, web} {
		got, _ := exchangeRaw(t, g.entrance(id, true), get("/public")+get("/admin")+get("/public/2")+get("/other")+
			get("/public/../admin")+get("/public"), 6)
		if diff := cmp.Diff([]int{200, 403, 200, 404, 400, 200}, got); diff != "" {
			t.Errorf("%q, pipelined (-want +got):\n%s", id, diff)
		}
		c := dial(t, g.entrance(id, true))
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		streams := h2Statuses(t, c, "/public", "/admin", "/public/2", "/other", "/public/../admin", "/public")
		if diff := cmp.Diff([]string{"200", "403", "200", "404", "400", "200"}, streams); diff != "" {
			t.Errorf("%q, streams (-want +got):\n%s", id, diff)
		}
	}
}

// TestHostSelectsNothing asks for a route by everything but the path.
func TestHostSelectsNothing(t *testing.T) {
	g := startGuarded(t)
	g.set(t, byRoute())
	for name, text := range map[string]string{
		"another Host":                    "GET /admin HTTP/1.1\r\nHost: public\r\n",
		"a Host that is a path":           "GET /admin HTTP/1.1\r\nHost: a/public\r\n",
		"two Hosts":                       "GET /admin HTTP/1.1\r\nHost: a\r\nHost: /public\r\n",
		"absolute form":                   "GET http://public/admin HTTP/1.1\r\nHost: public\r\n",
		"absolute form with another Host": "GET http://a/admin HTTP/1.1\r\nHost: b\r\n",
		"absolute form without a path":    "GET http://a HTTP/1.1\r\nHost: a\r\n",
		"authority form":                  "GET a:80 HTTP/1.1\r\nHost: a\r\n",
		"headers that some servers believe": "GET /admin HTTP/1.1\r\nHost: a\r\nX-Original-URL: /public\r\nX-Rewrite-URL: " +
			"/public\r\nX-HTTP-Method-Override: GET\r\n",
		"a fragment":             "GET /admin#/public HTTP/1.1\r\nHost: a\r\n",
		"a query that is a path": "GET /admin?/../public HTTP/1.1\r\nHost: a\r\n",
		"a tunnel":               "CONNECT public:80 HTTP/1.1\r\nHost: public:80\r\n",
		"an upgrade": "GET /admin HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: " +
			"upgrade\r\n",
	} {
		if got, _ := exchangeRaw(t, g.http.String(), text+"\r\n", 1); got[0] != 403 && got[0] != 404 && got[0] != 400 {
			t.Errorf("%s: got %d", name, got[0])
		}
	}
	got, _ := exchangeRaw(t, g.http.String(), "GET http://a/public HTTP/1.1\r\nHost: a\r\n\r\nGET /public HTTP/1.1\r\nHost: admin\r\n\r\n", 2)
	if got[0] != 200 || got[1] != 200 {
		t.Errorf("an open route by absolute form and by another Host: got %v", got)
	}
}

func TestFiltersOfARoute(t *testing.T) {
	g := startGuarded(t, web)
	filtered := func(name, prefix string, filters ...mesh.Filter) mesh.InboundRoute {
		r := routed(name, mesh.Match{Path: mesh.PrefixPath, Value: prefix}, authorize(mesh.NamedClients, web))
		r.Route.Rules[0].Filters = filters
		return r
	}
	invalid := filtered("broken", "/broken")
	invalid.Route.Rules[0].Invalid = "filter of a later day"
	open := routed("open", mesh.Match{Path: mesh.PrefixPath, Value: "/open"}, authorize(mesh.AnyClients))
	open.Route.Rules[0].Invalid = invalid.Route.Rules[0].Invalid
	shared := routed("shared", mesh.Match{Path: mesh.PrefixPath, Value: "/shared"}, authorize(mesh.AnyClients))
	shared.Route.Rules[0].Filters = []mesh.Filter{{CORS: &mesh.CORS{
		AllowOrigins: []string{"https://shop.example"}, AllowMethods: []string{"PUT"}}}}
	g.set(t, mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{
		filtered("heads", "/heads", mesh.Filter{
			RequestHeaders: &mesh.HeaderModifier{Set: []mesh.Header{{Name: "x-added", Value: "added"}}}},
			mesh.Filter{ResponseHeaders: &mesh.HeaderModifier{Set: []mesh.Header{{Name: "x-answer", Value: "marked"}}}}),
		filtered("moved", "/moved", mesh.Filter{
			Redirect: &mesh.Redirect{Status: 308, Path: &mesh.PathModifier{Prefix: true, Value: "/new"}}}),
		invalid, open, shared,
	}})
	c := client(t, g.entrance(web, true), false)
	c.CheckRedirect = noRedirect
	if got := do(t, c, "GET", "http://cart.shop/heads", nil); got.body != web.String()+" added /heads" || got.header.Get("X-Answer") != "marked" {
		t.Errorf("heads: got %d %q %v", got.status, got.body, got.header)
	}
	if got := do(t, c, "GET", "http://cart.shop:81/moved/x?q", nil); got.status != 308 || got.header.Get("Location") != "http://cart.shop:81/new/x?q" {
		t.Errorf("redirect: got %d to %q", got.status, got.header.Get("Location"))
	}
	if got := do(t, c, "GET", "http://cart.shop/broken", nil); got.status != 500 || !strings.Contains(got.header.Get("Proxy-Status"), "HTTPRoute shop/broken") {
		t.Errorf("broken: got %d %v", got.status, got.header)
	}
	if got := do(t, c, "GET", "http://cart.shop/open", nil); got.status != 500 || !strings.Contains(got.body, "later day") {
		t.Errorf("a meshed client of an invalid rule: got %d %s", got.status, got.body)
	}
	c = client(t, g.entrance(nobody, true), false)
	c.CheckRedirect = noRedirect
	if got := do(t, c, "GET", "http://cart.shop/moved", nil); got.status != 403 {
		t.Errorf("redirect for a stranger: got %d, want the denial", got.status)
	}
	got := do(t, c, "GET", "http://cart.shop/open", nil)
	if text := fmt.Sprint(got.header, got.body); got.status != 500 || strings.Contains(text, "later day") ||
		!strings.Contains(got.body, "is invalid") {
		t.Errorf("a stranger of an invalid rule: got %d %s", got.status, text)
	}
	for origin, want := range map[string]struct {
		status  int
		allowed string
	}{"https://shop.example": {204, "https://shop.example"}, "https://evil.example": {403, ""}} {
		got := do(t, c, "OPTIONS", "http://cart.shop/shared", http.Header{
			"Origin": {origin}, "Access-Control-Request-Method": {"PUT"}})
		if got.status != want.status || got.header.Get("Access-Control-Allow-Origin") != want.allowed ||
			got.header.Get("Vary") != "Origin" {
			t.Errorf("preflight of %s: got %d %v, want %d", origin, got.status, got.header, want.status)
		}
	}
}

// TestPageReadsResponsesOfTheProxy asks as a browser does: it follows a redirect and reads an error of another origin
// only if the response says that the page may (Fetch, HTTP fetch, "CORS check").
func TestPageReadsResponsesOfTheProxy(t *testing.T) {
	cors := mesh.Filter{CORS: &mesh.CORS{AllowOrigins: []string{"https://shop.example"}}}
	route := func(name string, filters ...mesh.Filter) mesh.InboundRoute {
		r := routed(name, mesh.Match{Path: mesh.PrefixPath, Value: "/" + name}, authorize(mesh.AnyClients))
		r.Route.Rules[0].Filters = filters
		return r
	}
	pd, app := startPod(t, nil), unused(t).String()
	pd.plane.SetInbound(&mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny,
		Server: mesh.Ref{Kind: "Server", Name: "a"},
		Routes: []mesh.InboundRoute{
			route("moved", cors, mesh.Filter{Redirect: &mesh.Redirect{Status: 308,
				Path: &mesh.PathModifier{Prefix: true, Value: "/new"}}}),
			route("down", cors),
		}}})
	pd.awaitPolicy(t, pd.serverIs("a"), app)
	c := client(t, pd.inboundTo(app), false)
	c.CheckRedirect = noRedirect
	for path, status := range map[string]int{"/moved": 308, "/down": 502} {
		for origin, want := range map[string]string{"https://shop.example": "https://shop.example", "https://evil.example": ""} {
			got := do(t, c, "GET", "http://cart.shop"+path, http.Header{"Origin": {origin}})
			if got.status != status || got.header.Get("Access-Control-Allow-Origin") != want ||
				got.header.Get("Vary") != "Origin" {
				t.Errorf("%s for %s: got %d %v, want %d that allows %q", path, origin, got.status, got.header, status, want)
			}
		}
	}
}

// TestRouteLosesItsRightAlone takes the authorization of one of two routes: a stream of the other goes on.
func TestRouteLosesItsRightAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond) // past the look at those who linger
	defer cancel()
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "end")
	})
	pd := startPod(t, nil)
	policy := func(name string, a ...mesh.Authorization) *mesh.Inbound {
		return &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny, Server: mesh.Ref{Kind: "Server", Name: name},
			Routes: []mesh.InboundRoute{
				routed("kept", mesh.Match{Path: mesh.PrefixPath, Value: "/kept"}, authorize(mesh.AnyClients)),
				routed("lost", mesh.Match{Path: mesh.PrefixPath, Value: "/lost"}, a...),
			}}}
	}
	pd.plane.SetInbound(policy("a", authorize(mesh.AnyClients)))
	pd.awaitPolicy(t, pd.serverIs("a"), app)
	var bodies []io.ReadCloser
	for _, path := range []string{"/kept", "/lost"} {
		res, err := client(t, pd.inboundTo(app), false).Get("http://cart.shop" + path)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(path, res, err)
		}
		defer res.Body.Close()
		bodies = append(bodies, res.Body)
	}
	pd.plane.SetInbound(policy("b"))
	pd.awaitPolicy(t, pd.serverIs("b"), app)
	if _, err := io.ReadAll(bodies[1]); err == nil {
		t.Error("the stream of the route that lost its authorization ended in order")
	}
	if got, err := io.ReadAll(bodies[0]); string(got) != "end" || err != nil {
		t.Errorf("the stream of the other route: %q, %v", got, err)
	}
}

// TestMetricsOfRoutes shows the labels that dashboards ask for.
func TestMetricsOfRoutes(t *testing.T) {
	g := startGuarded(t, web)
	g.set(t, byRoute(authorize(mesh.NamedClients, web)))
	for _, path := range []string{"/admin", "/public", "/other", "/public/../x"} {
		g.try(t, call{by: web, how: "h1", target: path})
	}
	g.try(t, call{by: nobody, how: "h1", target: "/admin"})
	text := g.metrics(t)
	server := `srv_group="policy.linkerd.io",srv_kind="server",srv_name="cart-1",srv_port="` + fmt.Sprint(g.ports[0]) + `"`
	admin := `route_group="policy.linkerd.io",route_kind="HTTPRoute",route_name="admin"`
	authz := `authz_group="policy.linkerd.io",authz_kind="serverauthorization",authz_name="some"`
	for family, labels := range map[string]string{
		"inbound_http_authz_allow_total":     server + "," + admin + "," + authz + "} 1",
		"inbound_http_authz_deny_total":      server + "," + admin + `,reason="no_identity"} 1`,
		"inbound_http_route_not_found_total": server + "} 1",
		"inbound_http_errors_total":          `direction="inbound",error="ambiguous_path"} 1`,
		"request_total":                      server + "," + admin + "," + authz + "} 1",
		"response_total": server + "," + admin + "," + authz +
			`,status_code="200",classification="success"} 1`,
	} {
		found := false
		for line := range strings.Lines(text) {
			found = found || strings.HasPrefix(line, family+"{") && strings.HasSuffix(strings.TrimSpace(line), labels)
		}
		if !found {
			t.Errorf("no series %s with %s", family, labels)
		}
	}
}

// streaming is an application whose answers go on until the client leaves.
func streaming(t *testing.T) (addr string) {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

// TestChangeReachesOpenConnections takes the right of one of two clients: its connection and its stream end within a
// second, the other's live on, and its next request is denied on the connection that it has.
func TestChangeReachesOpenConnections(t *testing.T) {
	g := startGuarded(t, web, web2)
	both := only(authorize(mesh.NamedClients, web, web2))
	g.set(t, both)
	clients := map[mesh.ID]*http.Client{}
	conns := map[mesh.ID]*net.TCPConn{}
	for _, id := range []mesh.ID{web, web2} {
		clients[id] = client(t, g.entrance(id, true), false)
		if got := do(t, clients[id], "GET", "http://cart.shop/", nil); got.status != 200 {
			t.Fatalf("%v: %d", id, got.status)
		}
		conns[id] = dial(t, g.entrance(id, false))
		if _, err := io.WriteString(conns[id], "\x00ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conns[id], make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	g.set(t, only(authorize(mesh.NamedClients, web2)))
	if got := do(t, clients[web], "GET", "http://cart.shop/", nil); got.status != 403 {
		t.Errorf("the next request of the client without right: %d", got.status)
	}
	if _, err := conns[web].Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("the connection of the client without right: %v, want a reset", err)
	}
	if got := do(t, clients[web2], "GET", "http://cart.shop/", nil); got.status != 200 {
		t.Errorf("the other client: %d", got.status)
	}
	if _, err := io.WriteString(conns[web2], "pong"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conns[web2], make([]byte, 4)); err != nil {
		t.Errorf("the other client's connection: %v", err)
	}
	if text := g.metrics(t); !strings.Contains(text,
		`srv_group="policy.linkerd.io",srv_kind="server",srv_name="cart-2"`) ||
		!strings.Contains(text, `inbound_tcp_authz_terminate_total{direction="inbound"`) {
		t.Error("the cut was not counted for its Server")
	}
}

// metrics returns the exposition of the guarded pod.
func (g *guarded) metrics(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := g.env.Stats.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStreamLosesItsRight(t *testing.T) {
	app := streaming(t)
	pd := startPod(t, nil)
	policy := func(a ...mesh.Authorization) *mesh.Inbound {
		p := only(a...)
		p.Server = mesh.Ref{Kind: "Server", Name: fmt.Sprint(len(a))}
		return &mesh.Inbound{Default: p}
	}
	pd.plane.SetInbound(policy(authorize(mesh.AnyClients)))
	pd.awaitPolicy(t, pd.serverIs("1"), app)
	res, err := client(t, pd.inboundTo(app), true).Get("http://cart.shop/")
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	pd.plane.SetInbound(policy())
	pd.awaitPolicy(t, pd.serverIs("0"), app)
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the stream ended in order")
	}
}

// TestStreamThatKeepsItsRightGoesOn changes what does not concern a stream in flight: it goes on.
func TestStreamThatKeepsItsRightGoesOn(t *testing.T) {
	app := listen(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
		<-time.After(1500 * time.Millisecond) // past the look at those who linger
		_, _ = io.WriteString(c, "2")
	})
	pd := startPod(t, nil)
	policy := func(name string, a ...mesh.Authorization) *mesh.Inbound {
		p := only(a...)
		p.Server = mesh.Ref{Kind: "Server", Name: name}
		return &mesh.Inbound{Default: p}
	}
	pd.plane.SetInbound(policy("a", authorize(mesh.AnyClients)))
	pd.awaitPolicy(t, pd.serverIs("a"), app)
	res, err := client(t, pd.inboundTo(app), false).Get("http://cart.shop/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	pd.plane.SetInbound(policy("b", authorize(mesh.NamedClients, web), authorize(mesh.AnyClients)))
	pd.awaitPolicy(t, pd.serverIs("b"), app)
	if got, err := io.ReadAll(res.Body); string(got) != "12" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestDenyUnderLoad denies while requests come in as fast as they can: from then on none succeeds.
func TestDenyUnderLoad(t *testing.T) {
	g := startGuarded(t, web)
	allow := only(authorize(mesh.NamedClients, web))
	g.set(t, allow)
	type outcome struct {
		begun, ended time.Time
		status       int
	}
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan []outcome, 4)
	var load sync.WaitGroup
	for i := range 4 {
		c := client(t, g.entrance(web, true), i%2 == 0)
		load.Go(func() {
			var seen []outcome
			for ctx.Err() == nil {
				begun := time.Now()
				res, err := c.Get("http://cart.shop/")
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				seen = append(seen, outcome{begun, time.Now(), res.StatusCode})
			}
			results <- seen
		})
	}
	var denials [][2]time.Time // each from its beginning to shortly before its end
	for range 5 {
		<-time.After(20 * time.Millisecond) // of load
		g.set(t, only())
		from := time.Now()
		<-time.After(20 * time.Millisecond)
		denials = append(denials, [2]time.Time{from, time.Now()})
		g.set(t, allow)
	}
	cancel()
	load.Wait()
	close(results)
	counts := map[int]int{}
	for list := range results {
		for _, o := range list {
			counts[o.status]++
			for _, d := range denials {
				if o.status == 200 && o.begun.After(d[0]) && o.ended.Before(d[1]) {
					t.Errorf("200 for a request that began %v after the deny", o.begun.Sub(d[0]))
				}
			}
		}
	}
	if counts[200] == 0 || counts[403] == 0 {
		t.Errorf("the load saw %v", counts)
	}
}

func TestDenialTellsMeshedClientsAll(t *testing.T) {
	g := startGuarded(t, web)
	g.set(t, only(authorize(mesh.NamedClients, web2)))
	got := do(t, client(t, g.entrance(web, true), false), "GET", "http://cart.shop/", nil)
	names := "Server shop/cart-1, client " + web.String() +
		": no authorization allows this client; add its identity to an AuthorizationPolicy or a ServerAuthorization"
	if want := `tulle-proxy; error=http_request_denied; details="` + names + `"`; got.status != 403 ||
		got.header.Get("Proxy-Status") != want {
		t.Errorf("got %d, Proxy-Status %q, want %q", got.status, got.header.Get("Proxy-Status"), want)
	}
	if got.header.Get("L5d-Proxy-Error") != names || got.body != names+"\n" {
		t.Errorf("l5d-proxy-error %q, body %q", got.header.Get("L5d-Proxy-Error"), got.body)
	}
	got = do(t, client(t, g.entrance(nobody, true), false), "GET", "http://cart.shop/", nil)
	if text := fmt.Sprint(got.header, got.body); strings.Contains(text, "shop") ||
		!strings.Contains(got.body, "only meshed clients") {
		t.Errorf("a stranger reads %s", text)
	}
}

// TestAMistakenRouteFailsClosed has a route whose match could not be read beside one that opens everything: meshed
// clients read which route it is and what is wrong with it, strangers that something is.
func TestAMistakenRouteFailsClosed(t *testing.T) {
	g := startGuarded(t, web)
	lock := routed("lock", mesh.Match{Path: mesh.PrefixPath, Value: "/admin", Widened: true})
	lock.Route.Rules[0].Invalid = `spec.rules[0].matches[0].headers[0].value: "(" is no RE2 expression`
	g.set(t, probing(mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{
		routed("wide", mesh.Match{Path: mesh.PrefixPath, Value: "/"}, authorize(mesh.AnyClients)), lock,
	}}))
	for _, c := range []call{
		{by: web, how: "h1", target: "/", want: "200"},
		{by: nobody, how: "h2", target: "/", want: "200"},
		{by: web, how: "h1", target: "/admin/x", want: "500"},
		{by: web, how: "grpc", target: "/admin/x", want: "grpc 13"},
		{by: nobody, how: "h2", target: "/%61dmin", want: "500"},
	} {
		if got := g.try(t, c); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
	got := do(t, client(t, g.entrance(web, true), false), "GET", "http://cart.shop/admin", nil)
	names := "Server shop/cart-1, HTTPRoute shop/lock, client " + web.String() + ": " + lock.Route.Rules[0].Invalid
	want := `tulle-proxy; error=proxy_configuration_error; details="` + strings.ReplaceAll(names, `"`, `\"`) + `"`
	if got.header.Get("Proxy-Status") != want || got.body != names+"\n" {
		t.Errorf("got Proxy-Status %s and body %s, want %s", got.header.Get("Proxy-Status"), got.body, want)
	}
	got = do(t, client(t, g.entrance(nobody, true), false), "GET", "http://cart.shop/admin", nil)
	if text := fmt.Sprint(got.header, got.body); strings.Contains(text, "shop") || strings.Contains(text, "RE2") ||
		!strings.Contains(got.body, "is invalid") {
		t.Errorf("a stranger reads %s", text)
	}
	if want := `inbound_http_errors_total{direction="inbound",error="invalid_route"} 5`; !strings.Contains(g.metrics(t),
		want) {
		t.Errorf("no %s", want)
	}
}

// TestSilenceIsNoWayAroundPolicy connects, waits until detection gives up, and only then asks: what is decided on is
// each request, all the same, for a stranger and through a client's proxy, which has taken the silence for a protocol
// in which the server speaks first.
func TestSilenceIsNoWayAroundPolicy(t *testing.T) {
	g := startGuarded(t, web)
	limited := only(authorize(mesh.AnyClients))
	limited.RateLimit = &mesh.RateLimit{Ref: mesh.Ref{Kind: "HTTPLocalRateLimitPolicy", Namespace: "shop", Name: "cart"},
		Identity: 0.01}
	for _, tc := range []struct {
		name   string
		policy mesh.PortPolicy
		paths  [2]string
		want   string
	}{
		{"routes", byRoute(authorize(mesh.NamedClients, web2)), [2]string{"/public", "/admin"}, "200 403"},
		{"a rate limit", limited, [2]string{"/", "/"}, "200 429"},
	} {
		g.set(t, tc.policy)
		var wg sync.WaitGroup
		for _, id := range []mesh.ID{web, nobody} {
			wg.Go(func() {
				conn := dial(t, g.entrance(id, true))
				defer conn.Close()
				<-time.After(g.env.Times.InboundDetect + g.env.Times.InboundDetect/2)
				in := bufio.NewReader(conn)
				var got []string
				for _, path := range tc.paths {
					fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: cart.shop\r\n\r\n", path)
					res, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Errorf("%s, %q: %v", tc.name, id, err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					got = append(got, strconv.Itoa(res.StatusCode))
				}
				if got := strings.Join(got, " "); got != tc.want {
					t.Errorf("%s, %q: got %s, want %s", tc.name, id, got, tc.want)
				}
			})
		}
		wg.Wait()
	}
}

// TestBytesAreNoWayAroundARateLimit sends what is no HTTP to a port whose requests are counted.
func TestBytesAreNoWayAroundARateLimit(t *testing.T) {
	g := startGuarded(t, web)
	p := only(authorize(mesh.AnyClients))
	p.RateLimit = &mesh.RateLimit{Ref: mesh.Ref{Kind: "HTTPLocalRateLimitPolicy", Namespace: "shop", Name: "cart"},
		Total: 100}
	g.set(t, p)
	for _, id := range []mesh.ID{web, nobody} {
		if got := g.try(t, call{by: id, how: "tcp"}); got != "reset" {
			t.Errorf("%q: got %s, want reset", id, got)
		}
	}
	g.set(t, opaque(p))
	for _, id := range []mesh.ID{web, nobody} {
		if got := g.try(t, call{by: id, how: "tcp"}); got != "echo" {
			t.Errorf("%q, to an opaque port, where nothing is counted: got %s, want echo", id, got)
		}
	}
}

func TestRateLimit(t *testing.T) {
	g := startGuarded(t, web, web2)
	p := only(authorize(mesh.AnyClients))
	p.RateLimit = &mesh.RateLimit{
		Ref:      mesh.Ref{Group: "policy.linkerd.io", Kind: "HTTPLocalRateLimitPolicy", Namespace: "shop", Name: "cart"},
		Identity: 3, Total: 100,
		Overrides: []mesh.RateOverride{{Identities: []mesh.ID{web2}, PerSecond: 6}},
	}
	p = probing(p)
	g.set(t, p)
	flood := func(id mesh.ID, how string) (ok int, last string) {
		for range 12 {
			if got := g.try(t, call{by: id, how: how, target: "/"}); got == "200" {
				ok++
			} else {
				last = got
			}
		}
		return ok, last
	}
	for _, c := range []struct {
		id   mesh.ID
		want int // at once; requests that take their time may see one more
		how  string
		last string
	}{{web, 3, "h1", "429"}, {web2, 6, "grpc", "grpc 8"}, {nobody, 3, "h2", "429"}} {
		if ok, last := flood(c.id, c.how); ok < c.want || ok > c.want+2 || last != c.last {
			t.Errorf("%q: %d requests, then %s; want %d, then %s", c.id, ok, last, c.want, c.last)
		}
	}
	if got := g.try(t, call{from: otherAddr, how: "h1", target: "/"}); got != "429" {
		t.Errorf("another client without identity: got %s, want the bucket of all of them, which is empty", got)
	}
	if got := g.try(t, call{from: nodeAddr, how: "h1", target: "/healthz"}); got != "200" {
		t.Errorf("a probe: got %s", got)
	}
	got := do(t, client(t, g.entrance(web, true), false), "GET", "http://cart.shop/", nil)
	for ; got.status == 200; got = do(t, client(t, g.entrance(web, true), false), "GET", "http://cart.shop/", nil) {
	}
	if got.header.Get("Retry-After") != "1" ||
		!strings.Contains(got.header.Get("Proxy-Status"), "HTTPLocalRateLimitPolicy shop/cart, Server shop/cart-1") {
		t.Errorf("got %d %v", got.status, got.header)
	}
	g.set(t, p) // another Server, the same limit: what was counted stays
	if ok, _ := flood(web, "h1"); ok > 2 {
		t.Errorf("a change of policy gave a client %d requests", ok)
	}
	want := `ratelimit_group="policy.linkerd.io",ratelimit_kind="httplocalratelimitpolicy",ratelimit_name="cart",ratelimit_scope="identity"}`
	if text := g.metrics(t); !strings.Contains(text, "inbound_http_local_ratelimit_total{") ||
		!strings.Contains(text, want) {
		t.Error("what was refused is not counted")
	}
}

// TestATunnelIsNoWayAroundPolicy asks for a tunnel by CONNECT, which an application like any other grants because it
// does not look at the method: what comes out of the tunnel would be requests that nobody decided on, under any
// identity.
func TestATunnelIsNoWayAroundPolicy(t *testing.T) {
	g := startGuarded(t, web)
	tunnel := func(id mesh.ID) (status int) {
		c := dial(t, g.entrance(id, true))
		if _, err := io.WriteString(c, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "CONNECT"})
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	anyone := authorize(mesh.AnyClients)
	wide := guarding("/", anyone)
	limited, declared, explicit := only(anyone), only(anyone), guarding("/", anyone)
	limited.RateLimit, declared.Protocol = &mesh.RateLimit{Total: 1000}, mesh.HTTP1
	explicit.Routes = append(explicit.Routes,
		routed("tunnels", mesh.Match{Method: "CONNECT"}, authorize(mesh.NamedClients, web)))
	for _, tc := range []struct {
		name              string
		policy            mesh.PortPolicy
		meshed, plaintext int
	}{
		{"past routes", wide, 403, 403},
		{"past a rate limit", limited, 403, 403},
		{"on a port that is declared HTTP", declared, 403, 403},
		{"where bytes pass as well", only(anyone), 200, 200},
		{"by a route that says so", explicit, 200, 403},
	} {
		g.set(t, tc.policy)
		if meshed, plaintext := tunnel(web), tunnel(nobody); meshed != tc.meshed || plaintext != tc.plaintext {
			t.Errorf("%s: got %d and %d, want %d and %d", tc.name, meshed, plaintext, tc.meshed, tc.plaintext)
		}
	}
	if want := `reason="tunnel"`; !strings.Contains(g.metrics(t), want) {
		t.Errorf("no %s", want)
	}
}
