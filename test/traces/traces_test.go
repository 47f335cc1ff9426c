package traces

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy"
)

var (
	web       = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	cart      = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart"}
	jaeger    = mesh.ID{TrustDomain: "cluster.local", Namespace: "tracing", ServiceAccount: "jaeger"}
	anyPort   = netip.MustParseAddrPort("127.0.0.1:0")
	cartRef   = mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80}
	traceID   = "0af7651916cd43dd8448eb211c80319c"
	callerID  = "b7ad6b7169203331"
	sampled   = http.Header{"Traceparent": {"00-" + traceID + "-" + callerID + "-01"}}
	unsampled = http.Header{"Traceparent": {"00-" + traceID + "-" + callerID + "-00"}}
)

// hop is a client's proxy, a server's proxy and the application behind them.
type hop struct {
	tracing mesh.Tracing // of both
	app     http.Handler
	policy  mesh.AccessPolicy // of the server; AllUnauthenticated if ""
	request mesh.RequestPolicy
	routes  []mesh.Route
	ca      *meshtest.CA
}

// start runs the proxies and returns the client's URL of the application.
func (h hop) start(t *testing.T) (url string) {
	t.Helper()
	client, _ := h.proxies(t)
	return urlOf(client)
}

// urlOf returns the URL of the application behind a client's proxy.
func urlOf(client *proxy.Proxy) string {
	return "http://" + client.Addresses().Local.Outbound[0].String()
}

// proxies runs the proxies.
func (h hop) proxies(t *testing.T) (client, server *proxy.Proxy) {
	t.Helper()
	app := httptest.NewUnstartedServer(h.app)
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetHTTP1(true)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	if h.ca == nil {
		h.ca = meshtest.NewCA(t)
	}
	if h.policy == "" {
		h.policy = mesh.AllUnauthenticated
	}
	server = run(t, proxy.Config{
		Settings: mesh.ProxyConfig{Tracing: named(h.tracing, "cart")},
		Pod:      proxy.Pod{Name: "cart-1", Namespace: "shop", Node: "n1"},
		Local: &proxy.Local{Certs: h.ca.Certs(cart), Admin: anyPort, Inbound: []proxy.LocalInbound{{
			Listen: anyPort, AppAddr: netip.MustParseAddrPort(app.Listener.Addr().String()),
			Policy: mesh.PortPolicy{Policy: h.policy},
		}}},
	})
	client = run(t, proxy.Config{
		Settings: mesh.ProxyConfig{Tracing: named(h.tracing, "web")},
		Local: &proxy.Local{Certs: h.ca.Certs(web), Admin: anyPort,
			Outbound: []proxy.LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
				Kind: mesh.ToService, Service: cartRef, Authority: "cart.shop.svc.cluster.local:80", Policy: h.request,
				Routes:    h.routes,
				Endpoints: []mesh.Endpoint{{Addr: server.Addresses().Local.Inbound[0], Identity: cart}},
			}}}},
	})
	return client, server
}

func named(t mesh.Tracing, service string) *mesh.Tracing {
	t.ServiceName, t.Workload, t.Interval = service, "deployment/"+service, mesh.Duration(10*time.Millisecond)
	return &t
}

func run(t *testing.T, cfg proxy.Config) *proxy.Proxy {
	t.Helper()
	cfg.Log = zap.NewNop()
	cfg.Settings.ShutdownGrace = mesh.Duration(time.Millisecond)
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-p.Running():
	case <-done:
		t.Fatal("the proxy does not run")
	}
	return p
}

// get sends a request with these fields and returns the status.
func get(t *testing.T, url string, fields http.Header) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header, r.Host = fields.Clone(), "cart.shop"
	if r.Header == nil {
		r.Header = http.Header{}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// want compares some attributes of a span; a value of nil says that there is none.
func want(t *testing.T, s span, attributes map[string]any) {
	t.Helper()
	got := map[string]any{}
	for k := range attributes {
		got[k] = s.Attributes[k]
	}
	if diff := cmp.Diff(attributes, got); diff != "" {
		t.Errorf("%s span %q (-want +got)\n%s", s.Kind(), s.Name(), diff)
	}
}

// link is how a span relates to others.
type link struct {
	Kind   ptrace.SpanKind
	Name   string
	Parent string // the span's parent, as a hexadecimal number
	Failed bool
}

func linkOf(s span) link {
	return link{s.Kind(), s.Name(), s.ParentSpanID().String(), s.Status().Code() == ptrace.StatusCodeError}
}

func wantLink(t *testing.T, s span, w link) {
	t.Helper()
	if diff := cmp.Diff(w, linkOf(s)); diff != "" {
		t.Errorf("span (-want +got)\n%s", diff)
	}
}

func TestOneTraceOverTwoProxies(t *testing.T) {
	for name, address := range map[string]func(c *otlp) string{
		"gRPC": func(c *otlp) string { return c.grpc }, "HTTP": func(c *otlp) string { return "http://" + c.http },
	} {
		t.Run(name, func(t *testing.T) {
			c := startCollector(t)
			var seen atomic.Value
			h := hop{tracing: mesh.Tracing{Collector: address(c)}, app: http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) { seen.Store(r.Header.Clone()) })}
			fields := sampled.Clone()
			fields.Set("Tracestate", "vendor=1")
			get(t, h.start(t)+"/books/42?token=secret", fields)
			spans := c.await(t, 2)
			client, server := spans[0], spans[1]
			wantLink(t, client, link{ptrace.SpanKindClient, "GET", callerID, false})
			wantLink(t, server, link{ptrace.SpanKindServer, "GET", client.SpanID().String(), false})
			for _, s := range spans {
				if got := s.TraceID().String(); got != traceID {
					t.Errorf("trace %s, want %s", got, traceID)
				}
				if s.TraceState().AsRaw() != "vendor=1" || s.EndTimestamp() < s.StartTimestamp() {
					t.Errorf("tracestate %q, from %v to %v", s.TraceState().AsRaw(), s.StartTimestamp(), s.EndTimestamp())
				}
				want(t, s, map[string]any{
					"http.request.method": "GET", "url.path": "/books/42", "server.address": "cart.shop", "server.port": nil,
					"http.response.status_code": int64(200), "error.type": nil, "network.protocol.version": "1.1",
					"tulle.client.id": web.String(), "tulle.server.id": cart.String(), "scope": "tulle-proxy",
					"http.request.resend_count": nil, "http.response.body.size": int64(0), "tulle.denied": nil,
				})
				for k, v := range s.Attributes {
					if text, ok := v.(string); ok && strings.Contains(text, "secret") {
						t.Errorf("the query shows in %s: %s", k, text)
					}
				}
			}
			want(t, client, map[string]any{
				"resource.service.name": "web", "resource.k8s.deployment.name": "web", "resource.k8s.pod.name": nil,
				"tulle.backend": "Service shop/cart:80", "tulle.authority": "cart.shop.svc.cluster.local:80",
				"tulle.route": "default http", "network.peer.address": "127.0.0.1",
			})
			want(t, server, map[string]any{
				"resource.service.name": "cart", "resource.k8s.pod.name": "cart-1", "resource.k8s.node.name": "n1",
				"resource.service.instance.id": "shop.cart-1", "tulle.authorization": "default all-unauthenticated",
				"tulle.server": "default all-unauthenticated", "client.address": "127.0.0.1",
			})
			got := seen.Load().(http.Header)
			if w := "00-" + traceID + "-" + server.SpanID().String() + "-01"; got.Get("Traceparent") != w {
				t.Errorf("the application got the traceparent %q, want %q", got.Get("Traceparent"), w)
			}
			if got.Get("Tracestate") != "vendor=1" {
				t.Errorf("the application got the tracestate %q", got.Get("Tracestate"))
			}
		})
	}
}

func TestEachAttemptHasASpan(t *testing.T) {
	c := startCollector(t)
	var calls atomic.Int64
	h := hop{tracing: mesh.Tracing{Collector: c.grpc}, request: mesh.RequestPolicy{Retry: &mesh.Retry{
		Limit: 1, Statuses: []mesh.StatusRange{{First: 500, Last: 599}}}}, app: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				w.WriteHeader(503)
			}
		})}
	if got := get(t, h.start(t), sampled); got != 200 {
		t.Fatalf("got %d", got)
	}
	byKind := map[ptrace.SpanKind][]span{}
	for _, s := range c.await(t, 5) {
		byKind[s.Kind()] = append(byKind[s.Kind()], s)
	}
	whole, attempts := byKind[ptrace.SpanKindInternal], byKind[ptrace.SpanKindClient]
	served := byKind[ptrace.SpanKindServer]
	if len(whole) != 1 || len(attempts) != 2 || len(served) != 2 {
		t.Fatalf("got %d, %d and %d spans, want 1 of the request, 2 of its attempts, 2 of the server", len(whole),
			len(attempts), len(served))
	}
	wantLink(t, whole[0], link{ptrace.SpanKindInternal, "GET", callerID, false})
	for i, attempt := range attempts {
		wantLink(t, attempt, link{ptrace.SpanKindClient, "GET", whole[0].SpanID().String(), i == 0})
		wantLink(t, served[i], link{ptrace.SpanKindServer, "GET", attempt.SpanID().String(), i == 0})
	}
	want(t, whole[0], map[string]any{"http.response.status_code": int64(200), "error.type": nil, "tulle.server.id": nil})
	want(t, attempts[0], map[string]any{
		"http.response.status_code": int64(503), "error.type": "503", "http.request.resend_count": nil,
	})
	want(t, attempts[1], map[string]any{
		"http.response.status_code": int64(200), "error.type": nil, "http.request.resend_count": int64(1),
		"tulle.server.id": cart.String(),
	})
}

func TestDenialHasASpan(t *testing.T) {
	c := startCollector(t)
	h := hop{tracing: mesh.Tracing{Collector: c.grpc}, policy: mesh.Deny, app: http.NotFoundHandler()}
	if got := get(t, h.start(t), sampled); got != 403 {
		t.Fatalf("got %d", got)
	}
	spans := c.await(t, 2)
	wantLink(t, spans[0], link{ptrace.SpanKindClient, "GET", callerID, true})
	want(t, spans[0], map[string]any{"http.response.status_code": int64(403), "error.type": "403"})
	wantLink(t, spans[1], link{ptrace.SpanKindServer, "GET", spans[0].SpanID().String(), true})
	want(t, spans[1], map[string]any{
		"http.response.status_code": int64(403), "error.type": "denied", "tulle.denied": "denied",
		"tulle.client.id": web.String(),
	})
}

// TestSyntheticResponsesHaveSpans has the proxies answer requests themselves, each for another reason.
func TestSyntheticResponsesHaveSpans(t *testing.T) {
	ref := mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "shop", Name: "cart"}
	rule := func(change func(*mesh.Rule)) []mesh.Route {
		r := mesh.Rule{Matches: []mesh.Match{{}}, Backends: []mesh.WeightedBackend{{Service: cartRef, Weight: 1}}}
		change(&r)
		return []mesh.Route{{Ref: ref, Rules: []mesh.Rule{r}}}
	}
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	abort := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, tt := range []struct {
		name   string
		hop    hop
		status int
		reason string // the client's error.type
		route  any
	}{
		{"no route", hop{routes: rule(func(r *mesh.Rule) {
			r.Matches[0] = mesh.Match{Path: mesh.ExactPath, Value: "/other"}
		})},
			404, "route_not_found", nil},
		{"no backend with a weight", hop{routes: rule(func(r *mesh.Rule) { r.Backends[0].Weight = 0 })},
			500, "no_backend", "HTTPRoute shop/cart"},
		{"timeout", hop{app: hang, routes: rule(func(r *mesh.Rule) { r.Policy.Timeouts.Request = 20 * time.Millisecond })},
			504, "timeout", "HTTPRoute shop/cart"},
		{"the application aborts", hop{app: abort, routes: rule(func(*mesh.Rule) {})}, 502, "502", "HTTPRoute shop/cart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCollector(t)
			tt.hop.tracing.Collector = c.grpc
			if tt.hop.app == nil {
				tt.hop.app = http.NotFoundHandler()
			}
			if got := get(t, tt.hop.start(t), sampled); got != tt.status {
				t.Errorf("got %d, want %d", got, tt.status)
			}
			n := 1
			if tt.hop.routes[0].Rules[0].Backends[0].Weight > 0 && tt.route != nil {
				n = 2 // the server's too
			}
			s := c.await(t, n)[0]
			wantLink(t, s, link{ptrace.SpanKindClient, "GET", callerID, true})
			want(t, s, map[string]any{
				"http.response.status_code": int64(tt.status), "error.type": tt.reason, "tulle.route": tt.route,
			})
		})
	}
}

func TestInjectedFaultHasASpan(t *testing.T) {
	c := startCollector(t)
	h := hop{tracing: mesh.Tracing{Collector: c.grpc}, app: http.NotFoundHandler(), request: mesh.RequestPolicy{
		FaultInjection: &mesh.FaultInjection{AbortStatus: 503, AbortPercent: 100, Until: time.Now().Add(time.Hour)}}}
	if got := get(t, h.start(t), sampled); got != 503 {
		t.Fatalf("got %d", got)
	}
	spans := c.await(t, 1)
	wantLink(t, spans[0], link{ptrace.SpanKindClient, "GET", callerID, true})
	want(t, spans[0], map[string]any{
		"http.response.status_code": int64(503), "error.type": "injected", "tulle.fault": "injected",
	})
}

func TestCallHasItsStatus(t *testing.T) {
	c := startCollector(t)
	app := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.FailedPrecondition, "closed")
	}))
	t.Cleanup(app.Stop)
	h := hop{tracing: mesh.Tracing{Collector: c.grpc}, app: app}
	conn, err := grpc.NewClient(strings.TrimPrefix(h.start(t), "http://"), grpc.WithAuthority("cart.shop"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", sampled.Get("Traceparent"))
	var nothing codes.Code
	err = conn.Invoke(ctx, "/shop.Cart/Add", &nothing, &nothing, grpc.ForceCodec(emptyCodec{}))
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("got %v", err)
	}
	spans := c.await(t, 2)
	wantLink(t, spans[0], link{ptrace.SpanKindClient, "shop.Cart/Add", callerID, true})
	want(t, spans[0], map[string]any{
		"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.method": "Add", "rpc.grpc.status_code": int64(9),
		"error.type": "FAILED_PRECONDITION", "network.protocol.version": "2",
	})
	// The caller's error is not one of the server: OpenTelemetry's conventions for gRPC.
	wantLink(t, spans[1], link{ptrace.SpanKindServer, "shop.Cart/Add", spans[0].SpanID().String(), false})
	want(t, spans[1], map[string]any{"rpc.grpc.status_code": int64(9), "error.type": nil})
}

// emptyCodec sends empty messages.
type emptyCodec struct{}

func (emptyCodec) Marshal(any) ([]byte, error) { return nil, nil }
func (emptyCodec) Unmarshal([]byte, any) error { return nil }
func (emptyCodec) Name() string                { return "empty" }

// TestSampling has a request that is sampled follow each one, so that the spans that are not there would have come.
func TestSampling(t *testing.T) {
	const never = 5e-324 // the smallest ratio: no request is drawn
	for _, tt := range []struct {
		name   string
		ratio  float64
		fields http.Header
		spans  int
		seen   string // the traceparent that the application gets; * stands for numbers that are drawn
	}{
		{"the caller's decision against", 1, unsampled, 0, unsampled.Get("Traceparent")},
		{"without a trace, nothing started", 0, nil, 0, ""},
		{"without a trace, all started", 1, nil, 2, "00-*-01"},
		{"without a trace, drawn out", never, nil, 0, "00-*-00"},
		{"a traceparent without sense", 1, http.Header{"Traceparent": {"00-x"}}, 2, "00-*-01"},
		{"a traceparent without sense, nothing started", 0, http.Header{"Traceparent": {"00-x"}}, 0, "00-x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCollector(t)
			var seen atomic.Value
			h := hop{tracing: mesh.Tracing{Collector: c.grpc, SamplingRatio: tt.ratio}, app: http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) { seen.Store(r.Header.Get("Traceparent")) })}
			url := h.start(t)
			get(t, url, tt.fields)
			got := seen.Load().(string)
			if head, tail, star := strings.Cut(tt.seen, "*"); star && len(got) == 55 && strings.HasPrefix(got, head) &&
				strings.HasSuffix(got, tail) {
				got = tt.seen
			}
			if got != tt.seen {
				t.Errorf("the application got the traceparent %q, want %q", got, tt.seen)
			}
			get(t, url, sampled)
			spans := c.await(t, tt.spans+2)
			for _, s := range spans[:tt.spans] {
				if s.TraceID().String() == traceID {
					t.Errorf("%v is of the other trace", linkOf(s))
				}
			}
			if tt.spans == 2 {
				wantLink(t, spans[0], link{ptrace.SpanKindClient, "GET", "", false})
				wantLink(t, spans[1], link{ptrace.SpanKindServer, "GET", spans[0].SpanID().String(), false})
			}
		})
	}
}

func TestB3(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields http.Header
		seen   func(client, server string) http.Header
	}{
		{"one field", http.Header{"B3": {traceID + "-" + callerID + "-1"}}, func(client, server string) http.Header {
			return http.Header{"B3": {traceID + "-" + server + "-1-" + client}}
		}},
		{"several fields", http.Header{
			"X-B3-Traceid": {traceID[16:]}, "X-B3-Spanid": {callerID}, "X-B3-Sampled": {"1"},
		}, func(client, server string) http.Header {
			return http.Header{
				"X-B3-Traceid": {traceID[16:]}, "X-B3-Spanid": {server}, "X-B3-Parentspanid": {client}, "X-B3-Sampled": {"1"},
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCollector(t)
			var seen atomic.Value
			h := hop{tracing: mesh.Tracing{Collector: c.grpc}, app: http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) { seen.Store(r.Header.Clone()) })}
			get(t, h.start(t), tt.fields)
			spans := c.await(t, 2)
			wantLink(t, spans[0], link{ptrace.SpanKindClient, "GET", callerID, false})
			wantLink(t, spans[1], link{ptrace.SpanKindServer, "GET", spans[0].SpanID().String(), false})
			got := http.Header{}
			for k, v := range seen.Load().(http.Header) {
				if strings.Contains(k, "B3") || k == "Traceparent" {
					got[k] = v
				}
			}
			if diff := cmp.Diff(tt.seen(spans[0].SpanID().String(), spans[1].SpanID().String()), got); diff != "" {
				t.Errorf("the application got (-want +got)\n%s", diff)
			}
		})
	}
}

// TestMeshedCollector has the collector's own proxy demand an identity.
func TestMeshedCollector(t *testing.T) {
	for name, overHTTP := range map[string]bool{"gRPC": false, "HTTP": true} {
		t.Run(name, func(t *testing.T) {
			c, ca := startCollector(t), meshtest.NewCA(t)
			address := c.grpc
			if overHTTP {
				address = c.http
			}
			front := run(t, proxy.Config{Local: &proxy.Local{Certs: ca.Certs(jaeger), Inbound: []proxy.LocalInbound{{
				Listen: anyPort, AppAddr: netip.MustParseAddrPort(address),
				Policy: mesh.PortPolicy{Policy: mesh.AllAuthenticated, RequireIdentity: true},
			}}}})
			h := hop{ca: ca, app: http.NotFoundHandler(), tracing: mesh.Tracing{
				Collector: front.Addresses().Local.Inbound[0].String(), CollectorID: jaeger.String()}}
			if overHTTP {
				h.tracing.Collector = "http://" + h.tracing.Collector
			}
			get(t, h.start(t), sampled)
			c.await(t, 2)
		})
	}
}
