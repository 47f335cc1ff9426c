package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/tap"
)

var watcher = mesh.ID{TrustDomain: "cluster.local", Namespace: "tulle-viz", ServiceAccount: "tap"}

// tapRig is a client's and a server's proxy that may both be watched, in front of an application.
type tapRig struct {
	ca             *meshtest.CA
	client, server *Proxy
	addr           string // of the client's listener
	conns          []*grpc.ClientConn
}

func startTapped(t *testing.T, app string, protocol mesh.Protocol, policy mesh.AccessPolicy) *tapRig {
	t.Helper()
	ca := meshtest.NewCA(t)
	settings := mesh.ProxyConfig{TapID: watcher.String(), TapRedactedHeaders: []string{"X-Own"}}
	r := &tapRig{ca: ca}
	r.server = start(t, Config{
		Settings: settings, Pod: Pod{Name: "cart-1", Namespace: "shop", ServiceAccount: "cart"},
		Local: &Local{
			Certs: ca.Certs(cart), Tap: anyPort,
			Inbound: []LocalInbound{{Listen: anyPort, AppAddr: netip.MustParseAddrPort(app),
				Policy: mesh.PortPolicy{Policy: policy, Protocol: protocol}}},
		},
	})
	r.client = start(t, Config{
		Settings: settings, Pod: Pod{Name: "web-1", Namespace: "shop", ServiceAccount: "web"},
		Local: &Local{
			Certs: ca.Certs(web), Tap: anyPort,
			Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
				Kind: mesh.ToService, Authority: "cart.shop.svc.cluster.local:80", Protocol: protocol,
				Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
				Endpoints: []mesh.Endpoint{{Addr: r.server.Addresses().Local.Inbound[0], Identity: cart, Pod: mesh.PodRef{
					Namespace: "shop", Name: "cart-1", OwnerKind: "deployment", OwnerName: "cart"}}},
			}}},
		},
	})
	r.addr = r.client.Addresses().Local.Outbound[0].String()
	return r
}

// watch subscribes as a workload to a proxy's requests, and returns once the subscription is active.
func (r *tapRig) watch(t *testing.T, p *Proxy, as mesh.ID, q *pb.TapQuery) (pb.Tap_WatchClient, error) {
	t.Helper()
	tls := r.ca.Certs(as).ClientTLS(p.env.Certs.ID(), "h2")
	conn, err := grpc.NewClient("passthrough:///"+p.Addresses().Tap.String(),
		grpc.WithTransportCredentials(credentials.NewTLS(tls)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r.conns = append(r.conns, conn)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	stream, err := pb.NewTapClient(conn).Watch(ctx, q)
	if err != nil {
		return nil, err
	}
	if header, err := stream.Header(); err != nil || len(header.Get(tap.ActiveHeader)) == 0 {
		_, err := stream.Recv()
		return nil, err
	}
	return stream, nil
}

func (r *tapRig) mustWatch(t *testing.T, p *Proxy, q mesh.TapQuery) pb.Tap_WatchClient {
	t.Helper()
	stream, err := r.watch(t, p, watcher, api.EncodeTapQuery(q))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// next returns the next n events.
func next(t *testing.T, stream pb.Tap_WatchClient, n int) (events []mesh.TapEvent) {
	t.Helper()
	for len(events) < n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %d events: %v", len(events), err)
		}
		got, err := api.DecodeTapEvents(m)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, got.Events...)
	}
	return events
}

// tapApp answers 201 with a secret, a body and a trailer.
func tapApp(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Set-Cookie", "session=secret-3")
		w.Header().Set("X-Kind", "answer")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "body-secret")
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); wg.Wait() })
	return l.Addr().String()
}

func sendTapped(t *testing.T, method, url string, edit func(*http.Request)) int {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader("request-secret"))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(req)
	}
	req.Close = true
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

func TestTapShowsARequestOnBothSides(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	out, in := r.mustWatch(t, r.client, mesh.TapQuery{}), r.mustWatch(t, r.server, mesh.TapQuery{})
	sendTapped(t, "POST", "http://"+r.addr+"/charge?x=1", func(r *http.Request) { r.Host = "cart.shop" })
	for name, side := range map[string]struct {
		stream    pb.Tap_WatchClient
		direction mesh.TapDirection
	}{"outbound": {out, mesh.TapOutbound}, "inbound": {in, mesh.TapInbound}} {
		t.Run(name, func(t *testing.T) {
			events := next(t, side.stream, 3)
			var kinds []mesh.TapKind
			for _, e := range events {
				kinds = append(kinds, e.Kind)
				if e.ID != events[0].ID || e.Direction != side.direction || e.TLS != "true" || e.Headers != nil {
					t.Errorf("event: got %+v", e)
				}
			}
			if want := []mesh.TapKind{mesh.TapRequest, mesh.TapResponse, mesh.TapEnd}; !slices.Equal(kinds, want) {
				t.Fatalf("kinds: got %v, want %v", kinds, want)
			}
			req, rsp, end := events[0], events[1], events[2]
			got := strings.Join([]string{req.Method, req.Scheme, req.Authority, req.Path}, " ")
			if want := "POST http cart.shop /charge?x=[redacted]"; got != want {
				t.Errorf("request: got %q, want %q", got, want)
			}
			if rsp.Status != 201 || end.ResponseBytes != uint64(len("body-secret")) || end.GRPCStatus != -1 ||
				end.Error != "" || end.Since < rsp.Since {
				t.Errorf("response %+v, end %+v", rsp, end)
			}
			switch side.direction {
			case mesh.TapOutbound:
				if end.Dst.ID != cart || end.Dst.Service.Name != "cart" || end.Dst.Pod.OwnerName != "cart" ||
					end.Src.Pod.Name != "web-1" || end.Attempts != 1 {
					t.Errorf("outbound end: got %+v", end)
				}
			default:
				if req.Src.ID != web || req.Dst.Pod.Name != "cart-1" || req.Authorization.Name != "all-unauthenticated" {
					t.Errorf("inbound request: got %+v", req)
				}
			}
		})
	}
}

func TestTapShowsADenial(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.Deny)
	in := r.mustWatch(t, r.server, mesh.TapQuery{})
	if got := sendTapped(t, "GET", "http://"+r.addr+"/", nil); got != 403 {
		t.Fatalf("got %d, want 403", got)
	}
	if events := next(t, in, 3); events[1].Status != 403 || events[2].Error == "" {
		t.Errorf("got %+v", events)
	}
}

func TestTapRedactsHeadersAndNeverShowsBodies(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	in := r.mustWatch(t, r.server, mesh.TapQuery{Headers: true})
	sendTapped(t, "POST", "http://"+r.addr+"/?token=secret-6", func(r *http.Request) {
		for name, value := range map[string]string{
			"Authorization": "Bearer secret-1", "Cookie": "a=secret-2", "Proxy-Authorization": "Basic secret-4",
			"X-Api-Key": "secret-5", "X-Plain": "shown", "X-Own": "secret-7", "Referer": "https://shop/?code=secret-8",
		} {
			r.Header.Set(name, value)
		}
	})
	headers := map[string]string{}
	events := next(t, in, 3)
	for _, e := range events {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, "secret") {
			t.Errorf("a secret is shown: %s", text)
		}
		for _, h := range e.Headers {
			headers[strings.ToLower(h.Name)] = h.Value
		}
	}
	for name, want := range map[string]string{
		"authorization": "[redacted]", "cookie": "[redacted]", "proxy-authorization": "[redacted]",
		"x-api-key": "[redacted]", "set-cookie": "[redacted]", "x-plain": "shown", "x-kind": "answer",
	} {
		if got := headers[name]; got != want && name != "proxy-authorization" || got != want && got != "" {
			t.Errorf("header %s: got %q, want %q", name, got, want)
		}
	}
}

// TestTapShowsTheClientsTraceHeaders shows that tap records a request before the proxy's span becomes its parent.
func TestTapShowsTheClientsTraceHeaders(t *testing.T) {
	ca := meshtest.NewCA(t)
	p := start(t, Config{
		Settings: mesh.ProxyConfig{
			TapID:   watcher.String(),
			Tracing: &mesh.Tracing{Collector: "127.0.0.1:1", SamplingRatio: 1},
		},
		Local: &Local{Certs: ca.Certs(cart), Tap: anyPort, Inbound: []LocalInbound{{
			Listen: anyPort, AppAddr: netip.MustParseAddrPort(tapApp(t)),
			Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
		}}},
	})
	in := (&tapRig{ca: ca}).mustWatch(t, p, mesh.TapQuery{Headers: true})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	sendTapped(t, "GET", "http://"+p.Addresses().Local.Inbound[0].String()+"/", func(r *http.Request) {
		r.Header.Set("Traceparent", parent)
	})
	for _, h := range next(t, in, 1)[0].Headers {
		if strings.EqualFold(h.Name, "traceparent") {
			if h.Value != parent {
				t.Errorf("got %s, want the client's %s", h.Value, parent)
			}
			return
		}
	}
	t.Error("no traceparent")
}

// TestTapRefusesOthers shows that only the tap server's identity may watch, and only with a query that is understood.
func TestTapRefusesOthers(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	if stream, err := r.watch(t, r.server, web, &pb.TapQuery{}); status.Code(err) != codes.Unavailable {
		t.Errorf("another workload: got %v, %v; want a failed handshake", stream, err)
	}
	meshtest.Await(t, "the refusal to be counted", func() bool { return r.server.tap.Refused() > 0 })
	stranger := &tapRig{ca: meshtest.NewCA(t)}
	if stream, err := stranger.watch(t, r.server, watcher, &pb.TapQuery{}); status.Code(err) != codes.Unavailable {
		t.Errorf("the right name under another anchor: got %v, %v; want a failed handshake", stream, err)
	}
	plain, err := grpc.NewClient("passthrough:///"+r.server.Addresses().Tap.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if stream, err := pb.NewTapClient(plain).Watch(ctx, &pb.TapQuery{}); err == nil {
		if _, err = stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("plaintext: got %v, want a failed connection", err)
		}
	}
	if _, err := r.watch(t, r.server, watcher, &pb.TapQuery{Direction: 7}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("unknown direction: got %v, want InvalidArgument", err)
	}
	if _, err := r.watch(t, r.server, watcher, &pb.TapQuery{PerSecond: 1001}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("1,001 a second: got %v, want InvalidArgument", err)
	}
}

func TestTapBoundsSubscriptions(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	for range 8 {
		r.mustWatch(t, r.server, mesh.TapQuery{})
	}
	if _, err := r.watch(t, r.server, watcher, &pb.TapQuery{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the ninth: got %v, want ResourceExhausted", err)
	}
}

func TestTapEndsWithItsSubscriber(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	r.mustWatch(t, r.server, mesh.TapQuery{})
	if n := r.server.env.Tap.Subscriptions(); n != 1 {
		t.Fatalf("subscriptions: got %d, want 1", n)
	}
	r.conns[0].Close()
	meshtest.Await(t, "the subscription to end", r.server.env.Tap.Idle)
}

// TestTapOfAnOpaqueConnection shows both ends of a connection that is not HTTP, with its bytes and identities.
func TestTapOfAnOpaqueConnection(t *testing.T) {
	r := startTapped(t, listen(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_, _ = io.WriteString(c, "pong-pong")
	}), mesh.Opaque, mesh.AllUnauthenticated)
	out, in := r.mustWatch(t, r.client, mesh.TapQuery{}), r.mustWatch(t, r.server, mesh.TapQuery{})
	if got, err := ask(r.addr, "ping"); got != "pong-pong" {
		t.Fatalf("got %q, %v", got, err)
	}
	for name, stream := range map[string]pb.Tap_WatchClient{"outbound": out, "inbound": in} {
		events := next(t, stream, 2)
		open, end := events[0], events[1]
		if open.Kind != mesh.TapOpen || end.Kind != mesh.TapClose || open.ID != end.ID || end.TLS != "true" ||
			end.RequestBytes != 4 || end.ResponseBytes != 9 || end.Error != "" {
			t.Errorf("%s: got %+v", name, events)
		}
		if name == "inbound" && open.Src.ID != web || name == "outbound" && open.Dst.ID != cart {
			t.Errorf("%s: got %+v", name, open)
		}
	}
}

func TestTapShowsARefusedConnection(t *testing.T) {
	r := startTapped(t, listen(t, echo), mesh.Opaque, mesh.Deny)
	in := r.mustWatch(t, r.server, mesh.TapQuery{})
	if _, err := ask(r.addr, "ping"); !isReset(err) {
		t.Fatalf("got %v, want a reset", err)
	}
	if events := next(t, in, 2); events[1].Kind != mesh.TapClose || events[1].Error == "" {
		t.Errorf("got %+v, want the reason of the denial", events)
	}
}

// TestTapToADestination shows that the proxy compares the endpoint that was chosen.
func TestTapToADestination(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	to := func(name string) pb.Tap_WatchClient {
		destination := mesh.TapDestination{Kind: "deployment", Namespace: "shop", Name: name}
		return r.mustWatch(t, r.client, mesh.TapQuery{To: destination})
	}
	right := to("cart")
	to("web")
	sendTapped(t, "GET", "http://"+r.addr+"/one", nil)
	if e := next(t, right, 1)[0]; e.Path != "/one" {
		t.Errorf("got %+v", e)
	}
}

// TestTapTellsWhatIsBeyondTheRate shows that requests beyond the rate are counted, and not shown.
func TestTapTellsWhatIsBeyondTheRate(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	stream := r.mustWatch(t, r.server, mesh.TapQuery{PerSecond: 1})
	for range 3 {
		sendTapped(t, "GET", "http://"+r.addr+"/", nil)
	}
	shown, skipped := map[uint64]bool{}, uint64(0)
	for uint64(len(shown))+skipped < 3 {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.GetEvents() {
			shown[e.GetId()] = true
		}
		skipped += m.GetSkipped()
	}
	if len(shown) == 0 {
		t.Errorf("got none of 3 requests")
	}
}

// TestTapEndsWhenTheClientIsNotTrusted ends a subscription when its client is no longer trusted.
func TestTapEndsWhenTheClientIsNotTrusted(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	stream := r.mustWatch(t, r.server, mesh.TapQuery{})
	other := meshtest.NewCA(t)
	if err := r.server.env.Certs.ReplaceStatic(other.Issue(cart), other.Roots()); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
	meshtest.Await(t, "the subscription to end", r.server.env.Tap.Idle)
}

// TestWithoutTapNobodyListens shows that the control port is closed unless the configuration names the tap server.
func TestWithoutTapNobodyListens(t *testing.T) {
	pd := startPod(t, nil)
	if pd.Addresses().Tap.IsValid() {
		t.Errorf("listens on %v", pd.Addresses().Tap)
	}
	pd = startPod(t, func(c *Config) { c.Settings.TapID = watcher.String() })
	if !pd.Addresses().Tap.IsValid() {
		t.Error("does not listen")
	}
}

// TestTapOfASlowReader shows that requests go on while a subscriber does not read, and that it learns how many events
// it lost.
func TestTapOfASlowReader(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	stream := r.mustWatch(t, r.server, mesh.TapQuery{Headers: true, PerSecond: mesh.MaxTapRate})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	filler := strings.Repeat("x", 1000)
	for sent := 0; r.server.env.Tap.Lost() == 0; sent++ {
		if sent == 20_000 {
			t.Fatal("nothing was lost")
		}
		req, err := http.NewRequest("GET", "http://"+r.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Filler", filler)
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("request %d: %v", sent, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	for lost := uint64(0); lost == 0; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		lost = m.GetLost()
	}
}

// TestStrangersDoNotKeepOutTheTapServer shows that connections whose client is not known never take all places: neither
// from a tap server that comes, nor from a subscription.
func TestStrangersDoNotKeepOutTheTapServer(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	crowd := func() (first net.Conn) {
		for i := range 100 {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/10))}}
			conn, err := d.Dial("tcp", r.server.Addresses().Tap.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			if i == 0 {
				first = conn
			}
		}
		return first
	}
	oldest := crowd()
	if _, err := oldest.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest stranger got an answer, want an end")
	}
	early := r.mustWatch(t, r.server, mesh.TapQuery{})
	crowd()
	late := r.mustWatch(t, r.server, mesh.TapQuery{})
	sendTapped(t, "GET", "http://"+r.addr+"/one", nil)
	for name, stream := range map[string]pb.Tap_WatchClient{"before": early, "after": late} {
		if e := next(t, stream, 1)[0]; e.Path != "/one" {
			t.Errorf("a subscription %s the strangers: got %+v", name, e)
		}
	}
}

// TestTapRefusesToGuessAValue shows that a filter with a value that is not shown is an error, and not a filter.
func TestTapRefusesToGuessAValue(t *testing.T) {
	r := startTapped(t, tapApp(t), mesh.Detect, mesh.AllUnauthenticated)
	_, err := r.watch(t, r.server, watcher, &pb.TapQuery{PathPrefix: "/login?token=s"})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `"token"`) {
		t.Errorf("got %v, want InvalidArgument that names the parameter", err)
	}
}
