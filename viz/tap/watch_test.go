package tap

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	web    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	cart   = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart"}
	tapID  = mesh.ID{TrustDomain: "cluster.local", Namespace: "tulle-viz", ServiceAccount: "tap"}
	webPod = mesh.PodRef{
		Namespace: "shop", Name: "web-1", ServiceAccount: "web", OwnerKind: "deployment", OwnerName: "web"}
	cartPod = mesh.PodRef{
		Namespace: "shop", Name: "cart-1", ServiceAccount: "cart", OwnerKind: "deployment", OwnerName: "cart"}
	anyPort = netip.MustParseAddrPort("127.0.0.1:0")
)

// shop is the proxies of web and cart, with an application behind cart's.
type shop struct {
	ca        *meshtest.CA
	web, cart *running
	url       string // of cart, through web's proxy
}

type running struct {
	*proxy.Proxy
	stop func()
}

func startShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{ca: meshtest.NewCA(t)}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	}))
	t.Cleanup(app.Close)
	s.cart = startProxy(t, &proxy.Local{
		Certs: s.ca.Certs(cart), Tap: anyPort,
		Inbound: []proxy.LocalInbound{{
			Listen: anyPort, AppAddr: netip.MustParseAddrPort(app.Listener.Addr().String()),
			Policy: mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
		}},
	})
	s.web = startProxy(t, &proxy.Local{
		Certs: s.ca.Certs(web), Tap: anyPort,
		Outbound: []proxy.LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
			Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
			Endpoints: []mesh.Endpoint{{Addr: s.cart.Addresses().Local.Inbound[0], Identity: cart, Pod: cartPod}},
		}}},
	})
	s.url = "http://" + s.web.Addresses().Local.Outbound[0].String()
	return s
}

func startProxy(t *testing.T, local *proxy.Local) *running {
	t.Helper()
	p, err := proxy.New(proxy.Config{
		Settings: mesh.ProxyConfig{TapID: tapID.String(), ShutdownGrace: mesh.Duration(100 * time.Millisecond)},
		Local:    local, Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Level: zap.NewAtomicLevel(),
	})
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
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	<-p.Running()
	return &running{Proxy: p, stop: stop}
}

// targets are the two proxies.
func (s *shop) targets() []Target {
	return []Target{
		{Namespace: "shop", Pod: "web-1", Addr: s.web.Addresses().Tap, ID: web, Ref: webPod},
		{Namespace: "shop", Pod: "cart-1", Addr: s.cart.Addresses().Tap, ID: cart, Ref: cartPod},
	}
}

func (s *shop) watcher() *Watcher {
	return &Watcher{Certs: s.ca.Certs(tapID), PodAt: func(a netip.Addr) (mesh.PodRef, bool) { return webPod, true }}
}

// watch runs a Watch, and returns its messages and how to end it.
func watch(t *testing.T, w *Watcher, targets []Target, q Query) (messages <-chan Message, end func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	out, result := make(chan Message), make(chan error, 1)
	go func() {
		defer close(out)
		result <- w.Watch(ctx, targets, q, func(m Message) error {
			select {
			case out <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	stopped := false
	end = func() error {
		cancel()
		for range out {
		}
		if stopped {
			return nil
		}
		stopped = true
		return <-result
	}
	t.Cleanup(func() { _ = end() })
	return out, end
}

// get sends a request and drops the response.
func get(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = "cart.shop", true
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// awaitWatching returns once every proxy has answered, and what was said before.
func awaitWatching(t *testing.T, messages <-chan Message, want int) (before []Message) {
	t.Helper()
	for m := range messages {
		if m.Watching == nil {
			before = append(before, m)
			continue
		}
		if *m.Watching != want {
			t.Fatalf("watching %d proxies, want %d", *m.Watching, want)
		}
		return before
	}
	t.Fatal("the stream ended")
	return nil
}

var volatile = regexp.MustCompile(`127\.0\.0\.1:\d+|[0-9]+µs`)

// TestWatchMergesProxies shows one request as both proxies see it, in Linkerd's words.
func TestWatchMergesProxies(t *testing.T) {
	s := startShop(t)
	messages, end := watch(t, s.watcher(), s.targets(), Query{})
	awaitWatching(t, messages, 2)
	get(t, s.url+"/charge")
	lines := map[string][]string{}
	for n := 0; n < 6; {
		m := <-messages
		if m.Event == nil {
			t.Fatalf("got %+v", m)
		}
		n++
		lines[m.Event.Proxy] = append(lines[m.Event.Proxy], volatile.ReplaceAllString(m.Event.Text("deployment"), "X"))
	}
	wide := " src_res=deploy/web src_ns=shop dst_res=deploy/cart dst_ns=shop"
	want := map[string][]string{
		"shop/web-1": {
			"req id=0:1 proxy=out src=X dst=X tls=true :method=GET :authority=cart.shop :path=/charge" + wide,
			"rsp id=0:1 proxy=out src=X dst=X tls=true :status=418 latency=X" + wide,
			"end id=0:1 proxy=out src=X dst=X tls=true duration=X response-length=15B" + wide,
		},
		"shop/cart-1": {
			"req id=1:1 proxy=in  src=X dst=X tls=true :method=GET :authority=cart.shop :path=/charge" + wide,
			"rsp id=1:1 proxy=in  src=X dst=X tls=true :status=418 latency=X" + wide,
			"end id=1:1 proxy=in  src=X dst=X tls=true duration=X response-length=15B" + wide,
		},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if err := end(); err != nil {
		t.Errorf("end: %v", err)
	}
}

// TestProxyThatGoesAway shows that the stream says so, and goes on with the other.
func TestProxyThatGoesAway(t *testing.T) {
	s := startShop(t)
	messages, _ := watch(t, s.watcher(), s.targets(), Query{})
	awaitWatching(t, messages, 2)
	s.cart.stop()
	m := <-messages
	if m.Notice == nil || m.Notice.Kind != Ended || m.Notice.Proxy != "shop/cart-1" || m.Notice.Text == "" {
		t.Fatalf("got %+v, want a notice that shop/cart-1 has gone", m)
	}
	get(t, s.url+"/after")
	if m := <-messages; m.Event == nil || m.Event.Proxy != "shop/web-1" {
		t.Errorf("got %+v, want an event of the other proxy", m)
	}
}

// TestProxyThatCannotBeReached shows that the others are watched, and that it is an error if there is none.
func TestProxyThatCannotBeReached(t *testing.T) {
	s := startShop(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := Target{Namespace: "shop", Pod: "gone-1", Addr: netip.MustParseAddrPort(l.Addr().String()), ID: cart}
	_ = l.Close()
	impostor := s.targets()[0]
	impostor.Pod, impostor.ID = "impostor-1", cart
	messages, _ := watch(t, s.watcher(), append(s.targets(), closed, impostor), Query{})
	got := map[string]NoticeKind{}
	for _, m := range awaitWatching(t, messages, 2) {
		got[m.Notice.Proxy] = m.Notice.Kind
	}
	want := map[string]NoticeKind{"shop/gone-1": Unreachable, "shop/impostor-1": Unreachable}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}

	messages, end := watch(t, s.watcher(), []Target{closed}, Query{})
	for range messages {
	}
	if err := end(); !errors.Is(err, ErrNoProxy) {
		t.Errorf("got %v, want ErrNoProxy", err)
	}
}

// TestAnotherIdentityWatchesNothing shows that only the tap server's identity may watch.
func TestAnotherIdentityWatchesNothing(t *testing.T) {
	s := startShop(t)
	messages, end := watch(t, &Watcher{Certs: s.ca.Certs(web)}, s.targets(), Query{})
	for m := range messages {
		if m.Event != nil || m.Notice != nil && m.Notice.Kind != Unreachable {
			t.Errorf("got %+v", m)
		}
	}
	if err := end(); !errors.Is(err, ErrNoProxy) {
		t.Errorf("got %v, want ErrNoProxy", err)
	}
}

// TestRateOfTheWholeWatch shows that requests beyond the rate of all proxies are left out whole, and counted.
func TestRateOfTheWholeWatch(t *testing.T) {
	m := &merger{
		watcher: &Watcher{}, targets: make([]Target, 2), states: make([]state, 2), limit: newRate(1, 2),
	}
	for i := range m.targets {
		m.messages(part{target: i, active: true})
	}
	events := func(id uint64) mesh.TapEvents {
		return mesh.TapEvents{Events: []mesh.TapEvent{
			{Kind: mesh.TapRequest, ID: id}, {Kind: mesh.TapResponse, ID: id}, {Kind: mesh.TapEnd, ID: id},
		}}
	}
	if got := m.messages(part{target: 0, events: events(1)}); len(got) != 3 {
		t.Errorf("the first: got %d events, want 3", len(got))
	}
	if got := m.messages(part{target: 1, events: events(1)}); len(got) != 0 {
		t.Errorf("the second: got %+v", got)
	}
	want := []Message{{Notice: &Notice{Proxy: "/", Kind: Skipped, Count: 1}}}
	if diff := cmp.Diff(want, m.missing(1)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if len(m.states[0].open) != 0 {
		t.Errorf("requests that have ended stay: %v", m.states[0].open)
	}
}

// TestOneProxyCannotTakeTheRate shows that the others are seen while one proxy sends more than the rate.
func TestOneProxyCannotTakeTheRate(t *testing.T) {
	r := newRate(100, 10)
	now := time.Now()
	taken := func(target int) (n int) {
		for range 1000 {
			if r.take(now, target) {
				n++
			}
		}
		return n
	}
	got := []int{taken(0), taken(1), taken(9)}
	if want := []int{55, 5, 5}; !slices.Equal(got, want) { // shares of 5, and 50 for the first
		t.Errorf("got %v, want %v", got, want)
	}
	now = now.Add(time.Second)
	if got := taken(1); got != 55 {
		t.Errorf("in the next second: got %d, want 55", got)
	}
}

// TestReaderLearnsWhatItMissed shows that a reader that stops slows nothing down, and learns how much it missed.
func TestReaderLearnsWhatItMissed(t *testing.T) {
	s := startShop(t)
	messages, _ := watch(t, s.watcher(), s.targets()[:1], Query{TapQuery: mesh.TapQuery{PerSecond: 1}})
	awaitWatching(t, messages, 1)
	for range 20 {
		get(t, s.url+"/") // nobody reads messages
	}
	requests, skipped := uint64(0), uint64(0)
	for requests+skipped < 20 {
		m := <-messages
		switch {
		case m.Event != nil && m.Event.RequestInit != nil:
			requests++
		case m.Notice != nil && m.Notice.Kind == Skipped:
			skipped += m.Notice.Count
			if !strings.Contains(m.Notice.String(), "requests beyond the maximum rate were skipped") {
				t.Errorf("got %q", m.Notice)
			}
		}
	}
	if skipped == 0 {
		t.Error("nothing was skipped at one request a second")
	}
}

func TestTooManyTargets(t *testing.T) {
	err := (&Watcher{}).Watch(context.Background(), make([]Target, MaxTargets+1), Query{}, nil)
	if err == nil || !strings.Contains(err.Error(), "at most 500") {
		t.Errorf("got %v", err)
	}
}

// hastyProxy sends an event without having confirmed the subscription.
type hastyProxy struct{ pb.UnimplementedTapServer }

func (hastyProxy) Watch(_ *pb.TapQuery, rpc grpc.ServerStreamingServer[pb.TapEvents]) error {
	e := mesh.TapEvent{Kind: mesh.TapRequest, ID: 1}
	var out pb.TapEvents
	if err := proto.Unmarshal(api.AppendTapEvent(nil, &e, false), &out); err != nil {
		return err
	}
	return rpc.Send(&out)
}

// serveTap is a program that poses as the proxy of cart.
func serveTap(t *testing.T, ca *meshtest.CA, proxy pb.TapServer) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(ca.Certs(cart).ServerTLS("h2"))))
	pb.RegisterTapServer(server, proxy)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	addr := netip.MustParseAddrPort(l.Addr().String())
	return Target{Namespace: "shop", Pod: "posing-1", Addr: addr, ID: cart}
}

// floodingProxy sends a message to everybody who subscribes.
type floodingProxy struct {
	pb.UnimplementedTapServer
	message *pb.TapEvents
}

func (p floodingProxy) Watch(_ *pb.TapQuery, rpc grpc.ServerStreamingServer[pb.TapEvents]) error {
	if err := rpc.SendHeader(metadata.Pairs(activeHeader, "true")); err != nil {
		return err
	}
	if err := rpc.Send(p.message); err != nil {
		return err
	}
	<-rpc.Context().Done()
	return nil
}

// TestProxyThatSendsTooMuch shows that its stream ends with a notice, that none of its events are shown, and that the
// others go on.
func TestProxyThatSendsTooMuch(t *testing.T) {
	request := func(path int) *pb.TapEvent {
		return &pb.TapEvent{Id: 1, Path: []byte(strings.Repeat("a", path)), Direction: pb.TapDirection_INBOUND}
	}
	for name, test := range map[string]struct {
		message *pb.TapEvents
		want    string
	}{
		"empty events":   {&pb.TapEvents{Events: slices.Repeat([]*pb.TapEvent{{}}, 20_000)}, "more than 64 events"},
		"a long message": {&pb.TapEvents{Events: slices.Repeat([]*pb.TapEvent{request(2000)}, 40)}, "larger than max"},
		"a long path":    {&pb.TapEvents{Events: []*pb.TapEvent{request(3000)}}, "a text of 3000 bytes"},
		"a long reason": {&pb.TapEvents{Events: []*pb.TapEvent{{Src: &pb.TapPeer{
			Identity: strings.Repeat("\x01", 2000)}}}}, "identity"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t)
			posing := serveTap(t, s.ca, floodingProxy{message: test.message})
			messages, _ := watch(t, s.watcher(), append(s.targets()[:1], posing), Query{})
			for noticed, watching := false, false; !noticed || !watching; {
				m := <-messages
				switch {
				case m.Watching != nil:
					watching = true
				case m.Notice == nil:
					t.Fatalf("got %+v, want a notice", m)
				default:
					noticed = true
					n := m.Notice
					if n.Kind != Ended || n.Proxy != "shop/posing-1" || !strings.Contains(n.Text, test.want) {
						t.Errorf("got %+v, want that shop/posing-1 has gone: %s", n, test.want)
					}
					if len(n.Text) > maxErrorText+len("…") {
						t.Errorf("a text of %d bytes", len(n.Text))
					}
				}
			}
			get(t, s.url+"/after")
			if m := <-messages; m.Event == nil || m.Event.Proxy != "shop/web-1" {
				t.Errorf("got %+v, want an event of the other proxy", m)
			}
		})
	}
}

// TestProxyThatDoesNotConfirm: such a proxy fails alone, whatever it sends.
func TestProxyThatDoesNotConfirm(t *testing.T) {
	ca := meshtest.NewCA(t)
	target := serveTap(t, ca, hastyProxy{})
	messages, end := watch(t, &Watcher{Certs: ca.Certs(tapID)},
		[]Target{target}, Query{MaxPerSecond: 100})
	said := ""
	for m := range messages {
		if m.Event != nil {
			t.Errorf("got the event %+v", m.Event)
		}
		if m.Notice != nil {
			said = m.Notice.String()
		}
	}
	if err := end(); !errors.Is(err, ErrNoProxy) || !strings.Contains(said, "did not confirm the subscription") {
		t.Errorf("got %v after the notice %q, want ErrNoProxy", err, said)
	}
}
