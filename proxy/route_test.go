package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// echoing runs an application that tells its name and what it was asked, and how it was called.
func echoing(t *testing.T, name string) (addr string) {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App", name)
		w.Header().Set("X-Headers", strings.Join(r.Header.Values("X-Test"), ";"))
		fmt.Fprintf(w, "%s %s %s%s", name, r.Method, r.Host, r.RequestURI)
	})
}

// svc names a Service of the tests.
func svc(name string) mesh.ServiceRef {
	return mesh.ServiceRef{Namespace: "shop", Name: name, Port: 80}
}

func backendOf(name string, addrs ...string) mesh.Backend {
	return mesh.Backend{Service: svc(name), Authority: name + ".shop.svc.cluster.local:80",
		Endpoints: toService(addrs...).Endpoints}
}

func weighted(name string, weight uint32, filters ...mesh.Filter) mesh.WeightedBackend {
	return mesh.WeightedBackend{
		Service: svc(name), Ref: mesh.Ref{Kind: "Service", Namespace: "shop", Name: name}, Weight: weight, Filters: filters,
	}
}

// unresolved is a backend that does not exist.
func unresolved(weight uint32) mesh.WeightedBackend {
	return mesh.WeightedBackend{Ref: mesh.Ref{Kind: "Service", Namespace: "shop", Name: "gone"}, Weight: weight,
		Invalid: "there is no such Service"}
}

// viaRoutes returns the value of the Service cart with one HTTPRoute.
func viaRoutes(rules []mesh.Rule, backends ...mesh.Backend) *mesh.Outbound {
	return &mesh.Outbound{
		Kind: mesh.ToService, Service: svc("cart"), Authority: "cart.shop.svc.cluster.local:80", Backends: backends,
		Routes: []mesh.Route{{Ref: mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "shop",
			Name: "split"}, Rules: rules}},
	}
}

func onPrefix(path string, backends ...mesh.WeightedBackend) mesh.Rule {
	return mesh.Rule{Matches: []mesh.Match{{Path: mesh.PrefixPath, Value: path}}, Backends: backends}
}

func filtered(path string, filters ...mesh.Filter) mesh.Rule {
	r := onPrefix(path, weighted("a", 1))
	r.Filters = filters
	return r
}

func TestRequestsGoByTheirRoute(t *testing.T) {
	pd := startPod(t, nil)
	broken := onPrefix("/broken", weighted("a", 1))
	broken.Invalid = "it asks for the moon"
	routes := viaRoutes([]mesh.Rule{
		onPrefix("/a", weighted("a", 1)), onPrefix("/b", weighted("b", 1)), onPrefix("/itself", weighted("cart", 1)),
		onPrefix("/none"), onPrefix("/zero", weighted("a", 0)), onPrefix("/gone", unresolved(1)), broken,
	}, backendOf("a", echoing(t, "a")), backendOf("b", echoing(t, "b")))
	routes.Endpoints = toService(echoing(t, "cart")).Endpoints
	pd.plane.SetOutbound(pd.target(clusterIP), routes)
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		for _, want := range []struct {
			path   string
			status int
			body   string
		}{
			{"/a/x?y", 200, "a GET cart.shop/a/x?y"},
			{"/b", 200, "b GET cart.shop/b"},
			{"/c", 404, "no rule of the Service's routes matches the request"},
			{"/none", 200, "cart GET cart.shop/none"},
			{"/zero", 500, "the rule has no backend with a weight"},
			{"/gone", 500, "the backend Service shop/gone cannot be used: there is no such Service"},
			{"/broken", 500, "the route cannot be served: it asks for the moon"},
		} {
			got := do(t, c, "GET", "http://cart.shop"+want.path, nil)
			if got.status != want.status || !strings.Contains(got.body, want.body) {
				t.Errorf("%s: got %d %q, want %d %q", want.path, got.status, got.body, want.status, want.body)
			}
			if s := got.header.Get("Proxy-Status"); want.status != 200 &&
				!strings.Contains(s, "cart.shop.svc.cluster.local:80") {
				t.Errorf("%s: Proxy-Status %q does not name the Service", want.path, s)
			}
		}
	})
	text := pd.scrape(t)
	for _, want := range []string{
		`outbound_http_errors_total{direction="outbound",error="route_not_found"} 2`,
		`outbound_http_errors_total{direction="outbound",error="no_backend"} 2`,
		`outbound_http_errors_total{direction="outbound",error="invalid_backend"} 2`,
		`outbound_http_errors_total{direction="outbound",error="invalid_rule"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// A rule without backends adds its filters, timeouts and retries to requests that go to the parent Service itself.
func TestRuleWithoutBackendsSendsToTheParent(t *testing.T) {
	bothVersions(t, func(t *testing.T, http2 bool) {
		pd := startPod(t, nil)
		var tries atomic.Int64
		rule := onPrefix("/")
		rule.Policy.Retry = serverErrors(2)
		rule.Filters = []mesh.Filter{
			{ResponseHeaders: &mesh.HeaderModifier{Set: []mesh.Header{{Name: "x-rule", Value: "applied"}}}}}
		slow := onPrefix("/slow")
		slow.Policy.Timeouts.Request = 50 * time.Millisecond
		moved := onPrefix("/moved")
		moved.Filters = []mesh.Filter{{Redirect: &mesh.Redirect{Host: "b.shop", Status: 302}}}
		routes := viaRoutes([]mesh.Rule{rule, slow, moved})
		routes.Endpoints = toService(serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
			} else if tries.Add(1) <= 2 {
				w.WriteHeader(503)
			}
		})).Endpoints
		pd.plane.SetOutbound(pd.target(clusterIP), routes)
		c := client(t, pd.outboundTo(clusterIP), http2)
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		got := do(t, c, "GET", "http://cart.shop/", nil)
		if got.status != 200 || tries.Load() != 3 || got.header.Get("X-Rule") != "applied" {
			t.Errorf("got %d after %d attempts, X-Rule %q; want 200 after 3, applied", got.status, tries.Load(),
				got.header.Get("X-Rule"))
		}
		if got := do(t, c, "GET", "http://cart.shop/slow", nil); got.status != 504 {
			t.Errorf("got %d from the rule with a timeout, want 504", got.status)
		}
		if got := do(t, c, "GET", "http://cart.shop/moved", nil); got.status != 302 {
			t.Errorf("got %d from the rule that redirects, want 302", got.status)
		}
		const parent = `parent_name="cart",parent_port="80",route_group="gateway.networking.k8s.io",` +
			`route_kind="HTTPRoute",route_namespace="shop",route_name="split",backend_group="core",` +
			`backend_kind="Service",backend_namespace="shop",backend_name="cart",backend_port="80"`
		text := pd.scrape(t)
		if n := countLines(text, "outbound_http_route_backend_requests_total", parent+"} 4"); n != 1 {
			t.Errorf("the 4 attempts are not counted with %s", parent)
		}
	})
}

// The draws of a rule are a sequence that is even at every moment, so the bounds are tight and hold from any seed.
func TestWeightsShareRequests(t *testing.T) {
	pd := startPod(t, nil)
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{
		onPrefix("/", weighted("a", 70), weighted("b", 20), unresolved(10)),
		onPrefix("/whole", weighted("a", 1), unresolved(0)),
	}, backendOf("a", echoing(t, "a")), backendOf("b", echoing(t, "b"))))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		got := map[string]int{}
		for range 500 {
			res := do(t, c, "GET", "http://cart.shop/", nil)
			got[res.header.Get("X-App")]++
			if res.status == 500 {
				got["500"]++
			}
		}
		for who, want := range map[string]int{"a": 350, "b": 100, "500": 50} {
			if d := got[who] - want; d < -4 || d > 4 {
				t.Errorf("%s got %d of 500 requests, want %d", who, got[who], want)
			}
		}
		for range 100 {
			if res := do(t, c, "GET", "http://cart.shop/whole", nil); res.status != 200 {
				t.Fatalf("a backend without weight was chosen: %d %s", res.status, res.body)
			}
		}
	})
}

func TestFilters(t *testing.T) {
	pd := startPod(t, nil)
	request := func(m mesh.HeaderModifier) mesh.Filter { return mesh.Filter{RequestHeaders: &m} }
	response := func(m mesh.HeaderModifier) mesh.Filter { return mesh.Filter{ResponseHeaders: &m} }
	header := func(name, value string) []mesh.Header { return []mesh.Header{{Name: name, Value: value}} }
	both := filtered("/both", request(mesh.HeaderModifier{Set: header("x-test", "rule")}),
		response(mesh.HeaderModifier{Set: header("x-app", "rule")}))
	both.Backends[0].Filters = []mesh.Filter{
		request(mesh.HeaderModifier{Add: header("x-test", "backend")}),
		response(mesh.HeaderModifier{Add: header("x-app", "backend")}),
	}
	elsewhere := onPrefix("/elsewhere", weighted("a", 1,
		mesh.Filter{Redirect: &mesh.Redirect{Host: "b.shop", Status: 308}},
		response(mesh.HeaderModifier{Add: header("x-app", "backend")})))
	elsewhere.Filters = []mesh.Filter{response(mesh.HeaderModifier{Add: header("x-app", "rule")})}
	prefix := func(v string) *mesh.PathModifier { return &mesh.PathModifier{Prefix: true, Value: v} }
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{
		filtered("/set", request(mesh.HeaderModifier{Set: header("x-test", "new")})),
		filtered("/add", request(mesh.HeaderModifier{Add: header("x-test", "new")})),
		filtered("/remove", request(mesh.HeaderModifier{Remove: []string{"x-test"}})),
		filtered("/response", response(mesh.HeaderModifier{Set: header("x-app", "changed"), Add: header("x-more", "1"),
			Remove: []string{"x-headers"}})),
		both, elsewhere,
		filtered("/strip", mesh.Filter{Rewrite: &mesh.Rewrite{Path: prefix("/")}},
			request(mesh.HeaderModifier{Set: header("x-test", "too")})),
		filtered("/full", mesh.Filter{Rewrite: &mesh.Rewrite{Host: "other.example:81",
			Path: &mesh.PathModifier{Value: "/one"}}}),
		filtered("/moved", mesh.Filter{Redirect: &mesh.Redirect{Scheme: "https", Path: prefix("/to"), Status: 301}},
			response(mesh.HeaderModifier{Set: header("x-app", "moved")})),
	}, backendOf("a", echoing(t, "a"))))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for _, want := range []struct {
			path, body string
			header     map[string]string
			status     int
		}{
			{path: "/set", header: map[string]string{"X-Headers": "new"}},
			{path: "/add", header: map[string]string{"X-Headers": "old,new"}},
			{path: "/remove", header: map[string]string{"X-Headers": ""}},
			{path: "/response", header: map[string]string{"X-App": "changed", "X-More": "1", "X-Headers": ""}},
			{path: "/both", header: map[string]string{"X-Headers": "rule,backend", "X-App": "rule"}},
			{path: "/strip", body: "a GET cart.shop/", header: map[string]string{"X-Headers": "too"}},
			{path: "/strip/x?y=1", body: "a GET cart.shop/x?y=1"},
			{path: "/full/x?y", body: "a GET other.example:81/one?y"},
			{path: "/moved/x?y", status: 301, header: map[string]string{"Location": "https://cart.shop/to/x?y", "X-App": "moved"}},
			{path: "/elsewhere/x", status: 308, header: map[string]string{"Location": "http://b.shop/elsewhere/x", "X-App": "backend,rule"}},
		} {
			got := do(t, c, "GET", "http://cart.shop"+want.path, http.Header{"X-Test": {"old"}})
			if want.status == 0 {
				want.status = 200
			}
			if got.status != want.status || want.body != "" && got.body != want.body {
				t.Errorf("%s: got %d %q, want %d %q", want.path, got.status, got.body, want.status, want.body)
			}
			for name, value := range want.header {
				if s := strings.Join(got.header.Values(name), ";"); s != value {
					t.Errorf("%s: %s is %q, want %q", want.path, name, s, value)
				}
			}
		}
	})
}

func TestCORSIsAnsweredByTheProxy(t *testing.T) {
	pd := startPod(t, nil)
	cors := mesh.Filter{CORS: &mesh.CORS{
		AllowOrigins: []string{"https://*.shop.example"}, AllowMethods: []string{"PUT"}, AllowCredentials: true, ExposeHeaders: []string{"x-app"},
	}}
	unserved := onPrefix("/gone", unresolved(1))
	unserved.Filters = []mesh.Filter{cors}
	pd.plane.SetOutbound(pd.target(clusterIP),
		viaRoutes([]mesh.Rule{filtered("/", cors), unserved}, backendOf("a", echoing(t, "a"))))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		for what, want := range map[string]struct {
			method, path, origin string
			status               int
			body, allowed        string
		}{
			"a preflight request":          {"OPTIONS", "/", "https://www.shop.example", 204, "", "https://www.shop.example"},
			"one of a stranger":            {"OPTIONS", "/", "https://evil.example", 403, "are not allowed", ""},
			"a request":                    {"PUT", "/", "https://www.shop.example", 200, "a PUT", "https://www.shop.example"},
			"one of a stranger is not cut": {"PUT", "/", "https://evil.example", 200, "a PUT", ""},
			"one that cannot be served":    {"PUT", "/gone", "https://www.shop.example", 500, "cannot be used", "https://www.shop.example"},
		} {
			got := do(t, c, want.method, "http://cart.shop"+want.path, http.Header{"Origin": {want.origin}, "Access-Control-Request-Method": {"PUT"}})
			if got.status != want.status || !strings.Contains(got.body, want.body) {
				t.Errorf("%s: got %d %q", what, got.status, got.body)
			}
			if s := got.header.Get("Access-Control-Allow-Origin"); s != want.allowed {
				t.Errorf("%s: allowed is %q, want %q", what, s, want.allowed)
			}
			if s := got.header.Get("Vary"); s != "Origin" {
				t.Errorf("%s: Vary is %q", what, s)
			}
		}
	})
}

func TestRefusedCallsAreGRPC(t *testing.T) {
	pd := startPod(t, nil)
	o := viaRoutes([]mesh.Rule{
		{Matches: []mesh.Match{{Path: mesh.GRPCExact, Service: "shop.Cart", Call: "Get"}},
			Backends: []mesh.WeightedBackend{weighted("a", 1)}},
		{Matches: []mesh.Match{{Path: mesh.GRPCExact, Service: "shop.Gone"}},
			Backends: []mesh.WeightedBackend{unresolved(1)}},
	}, backendOf("a", echoing(t, "a")))
	o.Routes[0].GRPC, o.Routes[0].Ref.Kind = true, "GRPCRoute"
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	c := client(t, pd.outboundTo(clusterIP), true)
	for path, want := range map[string]string{"/shop.Cart/Get": "", "/shop.Cart/Put": "12", "/shop.Gone/Get": "14"} {
		got := do(t, c, "POST", "http://cart.shop"+path, http.Header{"Content-Type": {"application/grpc"}})
		if code := got.header.Get("Grpc-Status"); got.status != 200 || code != want {
			t.Errorf("%s: got %d with grpc-status %q, want %q", path, got.status, code, want)
		}
	}
}

func TestTimeoutsOfARule(t *testing.T) {
	pd := startPod(t, nil)
	release := make(chan struct{})
	slow := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/idle" {
			fmt.Fprint(w, "begun")
			w.(http.Flusher).Flush()
		}
		<-release
	})
	defer close(release)
	with := func(path string, limits mesh.Timeouts) mesh.Rule {
		r := onPrefix(path, weighted("a", 1))
		r.Policy.Timeouts = limits
		return r
	}
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{
		with("/request", mesh.Timeouts{Request: 50 * time.Millisecond}),
		with("/response", mesh.Timeouts{Response: 50 * time.Millisecond}),
		with("/idle", mesh.Timeouts{Idle: time.Second}), // the head must be here first, also on a busy machine
	}, backendOf("a", slow)))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		c := client(t, entrance, http2)
		for _, path := range []string{"/request", "/response"} {
			if got := do(t, c, "GET", "http://cart.shop"+path, nil); got.status != 504 || !strings.Contains(got.header.Get("Proxy-Status"), "HTTPRoute shop/split") {
				t.Errorf("%s: got %d %v", path, got.status, got.header)
			}
		}
		res, err := c.Get("http://cart.shop/idle")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" {
			t.Errorf("a response that stands still ended with %q, %v", body, err)
		}
	})
}

// awaitRoutes returns once the target's routes are the ones that ok knows.
func (pd *pod) awaitRoutes(t *testing.T, addr string, ok func(*mesh.Outbound) bool) {
	t.Helper()
	meshtest.Await(t, "the routes are active", func() bool {
		v := pd.Proxy.outbound.Value(pd.target(addr))
		return v != nil && ok(v)
	})
}

func TestAShiftFailsNoRequest(t *testing.T) {
	pd := startPod(t, nil)
	a, b := echoing(t, "a"), echoing(t, "b")
	split := func(weightA, weightB uint32, backends ...mesh.Backend) {
		pd.plane.SetOutbound(pd.target(clusterIP),
			viaRoutes([]mesh.Rule{onPrefix("/", weighted("a", weightA), weighted("b", weightB))}, backends...))
	}
	split(1, 0, backendOf("a", a))
	entrance := pd.outboundTo(clusterIP)
	bothVersions(t, func(t *testing.T, http2 bool) {
		var seenB atomic.Int64
		ended, stop := make(chan string, 4), make(chan struct{})
		for range cap(ended) {
			c := client(t, entrance, http2)
			go func() {
				for {
					select {
					case <-stop:
						ended <- ""
						return
					default:
					}
					res, err := c.Get("http://cart.shop/")
					if err != nil {
						ended <- err.Error()
						return
					}
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if err != nil || res.StatusCode != 200 {
						ended <- fmt.Sprint(res.StatusCode, err)
						return
					}
					if res.Header.Get("X-App") == "b" {
						seenB.Add(1)
					}
				}
			}()
		}
		for _, weights := range [][2]uint32{{9, 1}, {5, 5}, {1, 9}, {0, 1}, {1, 1}, {0, 10}} {
			split(weights[0], weights[1], backendOf("a", a), backendOf("b", b))
			pd.awaitRoutes(t, clusterIP, func(v *mesh.Outbound) bool {
				return v.Routes[0].Rules[0].Backends[1].Weight == weights[1]
			})
		}
		split(0, 3, backendOf("b", b)) // a is gone
		pd.awaitRoutes(t, clusterIP, func(v *mesh.Outbound) bool { return v.Routes[0].Rules[0].Backends[1].Weight == 3 })
		before := seenB.Load()
		for deadline := time.Now().Add(5 * time.Second); seenB.Load() < before+20 && time.Now().Before(deadline); {
			select {
			case s := <-ended:
				t.Fatal(s)
			default:
			}
		}
		close(stop)
		for range cap(ended) {
			if s := <-ended; s != "" {
				t.Error(s)
			}
		}
		if seenB.Load() == before {
			t.Error("nothing arrives at the new backend")
		}
	})
}

func TestRequestsOfRoutesAreCounted(t *testing.T) {
	pd := startPod(t, nil)
	a := echoing(t, "a")
	pd.plane.SetOutbound(pd.target(clusterIP), viaRoutes([]mesh.Rule{onPrefix("/a", weighted("a", 1))}, backendOf("a", a)))
	const plain, profiled = "10.96.0.11:80", "10.96.0.12:80"
	unrouted := toService(a)
	unrouted.Protocol, unrouted.Service = mesh.Detect, svc("plain")
	pd.plane.SetOutbound(pd.target(plain), unrouted)
	profile := toService(a)
	profile.Protocol, profile.Service = mesh.Detect, svc("books")
	profile.Profile = &mesh.Profile{Ref: mesh.Ref{Group: "linkerd.io", Kind: "ServiceProfile", Namespace: "shop",
		Name: "books"}, Routes: []mesh.ProfileRoute{{
		Name: "GET /books", Condition: mesh.Condition{PathRegex: "/books"},
		Classes: []mesh.ResponseClass{{Condition: mesh.ResponseCondition{Status: mesh.StatusRange{First: 200, Last: 200}},
			Failure: true}},
	}}}
	pd.plane.SetOutbound(pd.target(profiled), profile)
	for _, ask := range []struct{ addr, path string }{{clusterIP, "/a"}, {plain, "/"}, {profiled, "/books"},
		{profiled, "/other"}} {
		do(t, client(t, pd.outboundTo(ask.addr), false), "GET", "http://cart.shop"+ask.path, nil)
	}
	parent := func(name string) string {
		return `parent_group="core",parent_kind="Service",parent_namespace="shop",parent_name="` + name +
			`",parent_port="80",`
	}
	const split = `route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_namespace="shop",route_name="split"`
	wants := []string{
		`outbound_http_route_request_statuses_total{` + parent("cart") + split + `,http_status="200"} 1`,
		`outbound_http_route_request_duration_seconds_count{` + parent("cart") + split + `} 1`,
		`outbound_http_route_request_duration_seconds_bucket{` + parent("cart") + split + `,le="0.05"}`,
		`outbound_http_route_backend_requests_total{` + parent("cart") + split +
			`,backend_group="core",backend_kind="Service",backend_namespace="shop",backend_name="a",backend_port="80"} 1`,
		`outbound_http_route_backend_response_statuses_total{` + parent("cart") + split + `,backend_group="core",`,
		`outbound_http_route_backend_response_duration_seconds_bucket{` + parent("cart") + split + `,backend_group="core",`,
		`outbound_http_route_request_statuses_total{` + parent("plain") +
			`route_kind="default",route_name="http",http_status="200"} 1`,
		`route_request_total{direction="outbound",dst="cart.shop.svc.cluster.local:80",rt_route="split"} 1`,
		`route_response_total{direction="outbound",dst="cart.shop.svc.cluster.local:80",rt_route="GET /books",status_code="200",classification="failure"} 1`,
		`route_request_total{direction="outbound",dst="cart.shop.svc.cluster.local:80"} 1`,
	}
	// the client may have its answer a moment before the last byte is counted
	for deadline := time.Now().Add(5 * time.Second); ; {
		text, missing := pd.scrape(t), ""
		for _, want := range wants {
			if !strings.Contains(text, want) {
				missing += want + "\n"
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("missing:\n%sin\n%s", missing, text)
		}
	}
}
