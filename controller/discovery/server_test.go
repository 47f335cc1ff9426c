package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	serverID = mesh.ID{TrustDomain: "cluster.local", Namespace: "tulle", ServiceAccount: "tulle-destination"}
	webID    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	hello    = &pb.Hello{Namespace: "shop", Pod: "web-1", Node: "node-1"}
)

// memory is a Source whose values a test sets. It knows one pod, shop/web-1 on node-1 with the ServiceAccount web.
type memory struct {
	mu    sync.Mutex
	cells map[mesh.Target]*latest.Cell[*Value]
	open  int
	// clients tells who watched.
	clients chan mesh.Client
}

func (m *memory) Identify(_ context.Context, namespace, pod string) (node, serviceAccount string, err error) {
	if namespace != "shop" || pod != "web-1" {
		return "", "", ErrUnknownPod
	}
	return "node-1", "web", nil
}

func (m *memory) Watch(_ context.Context, client mesh.Client, t mesh.Target) (*latest.Cell[*Value], func(), error) {
	m.mu.Lock()
	m.open++
	m.mu.Unlock()
	select {
	case m.clients <- client:
	default:
	}
	return m.cell(t), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open--
	}, nil
}

func (m *memory) cell(t mesh.Target) *latest.Cell[*Value] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cells[t] == nil {
		m.cells[t] = &latest.Cell[*Value]{}
	}
	return m.cells[t]
}

func (m *memory) opened() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// fixture is a running server.
type fixture struct {
	ca     *meshtest.CA
	source *memory
	server *Server
	addr   string
	stop   func()
}

func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{ca: meshtest.NewCA(t), source: &memory{cells: map[mesh.Target]*latest.Cell[*Value]{},
		clients: make(chan mesh.Client, 1)}}
	c := Config{
		Log: zaptest.NewLogger(t), Registry: prometheus.NewRegistry(), TLS: f.ca.Certs(serverID).ServerTLS("h2"),
		Identify: workload.PeerID,
	}
	if change != nil {
		change(&c)
	}
	f.server = New(c, f.source)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = lis.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.server.Run(ctx, lis) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) dial(t testing.TB, id mesh.ID) *grpc.ClientConn {
	t.Helper()
	return f.dialTLS(t, f.ca.Certs(id).ClientTLS(serverID, "h2"))
}

func (f *fixture) dialTLS(t testing.TB, c *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+f.addr, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type client struct {
	grpc.BidiStreamingClient[pb.SubscribeRequest, pb.SubscribeResponse]
	t      testing.TB
	cancel func()
}

func subscribe(t testing.TB, conn *grpc.ClientConn, h *pb.Hello) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	rpc, err := pb.NewDiscoveryClient(conn).Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{rpc, t, cancel}
	if h != nil {
		c.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: h}})
	}
	return c
}

// send ignores errors: a stream that was refused says why to Recv.
func (c *client) send(r *pb.SubscribeRequest) { _ = c.Send(r) }

func (c *client) watch(id uint64, t mesh.Target) {
	c.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{Watch: &pb.Watch{Id: id,
		Outbound: api.EncodeTarget(t)}}})
}

func (c *client) unwatch(id uint64) {
	c.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Unwatch{Unwatch: id}})
}

// next returns the ID and the authority, or the default policy, of the next value.
func (c *client) next() (uint64, string) {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	if in := r.GetInbound(); in != nil {
		return r.GetId(), in.GetDefault().GetPolicy()
	}
	return r.GetId(), r.GetOutbound().GetAuthority()
}

func (c *client) want(id uint64, text string) {
	c.t.Helper()
	if gotID, got := c.next(); gotID != id || got != text {
		c.t.Fatalf("got %q for watch %d, want %q for %d", got, gotID, text, id)
	}
}

func target(n int) mesh.Target {
	return mesh.Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(n >> 8), byte(n)}), 80)}
}

func outbound(authority string) *Value {
	return &Value{Outbound: &mesh.Outbound{Kind: mesh.ToService, Authority: authority}}
}

func TestStreamCarriesValuesAndTheirChanges(t *testing.T) {
	f := start(t, nil)
	f.source.cell(target(1)).Store(outbound("a"))
	f.source.cell(mesh.Target{}).Store(&Value{Inbound: &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}}})
	c := subscribe(t, f.dial(t, webID), hello)
	c.watch(1, target(1))
	c.want(1, "a")
	if got, want := <-f.source.clients, (mesh.Client{Namespace: "shop", Pod: "web-1", Node: "node-1"}); got != want {
		t.Errorf("client %v, want %v", got, want)
	}
	c.watch(0, mesh.Target{})
	c.want(0, "deny")
	c.watch(2, target(2)) // nothing is known about it yet
	f.source.cell(target(1)).Store(outbound("b"))
	c.want(1, "b")
	f.source.cell(target(2)).Store(outbound("c"))
	c.want(2, "c")
}

func TestUnwatchEndsAWatchAndFreesItsID(t *testing.T) {
	f := start(t, nil)
	f.source.cell(target(1)).Store(outbound("a"))
	f.source.cell(target(2)).Store(outbound("b"))
	c := subscribe(t, f.dial(t, webID), hello)
	c.watch(1, target(1))
	c.want(1, "a")
	c.unwatch(1)
	c.unwatch(77) // of nothing
	c.watch(1, target(2))
	c.want(1, "b")
	f.source.cell(target(1)).Store(outbound("nobody watches this"))
	f.source.cell(target(2)).Store(outbound("c"))
	c.want(1, "c")
}

// TestSlowPeerGetsTheLatest stores while the peer does not read; what it reads then may skip values but ends with the
// last.
func TestSlowPeerGetsTheLatest(t *testing.T) {
	f := start(t, nil)
	c := subscribe(t, f.dial(t, webID), hello)
	c.watch(1, target(1))
	last := ""
	for i := range 2000 {
		last = fmt.Sprint(i, strings.Repeat("x", 1000)) // two megabytes in all: more than every buffer on the way
		f.source.cell(target(1)).Store(outbound(last))
	}
	n := 0
	for got := ""; got != last; n++ {
		_, got = c.next()
	}
	if n == 2000 {
		t.Errorf("got all %d values; want some to be skipped", n)
	}
}

// TestLargeValuesThatKeepChangingAreSentNowAndThen stores while the peer reads: the first value comes at once, and the
// last one after the pause that the first one's size asks for. Small values do not wait.
func TestLargeValuesThatKeepChangingAreSentNowAndThen(t *testing.T) {
	f := start(t, func(c *Config) { c.ValueRate = 100 << 10 })
	large := strings.Repeat("x", 50<<10)
	begin := time.Now()
	f.source.cell(target(1)).Store(outbound("first" + large))
	c := subscribe(t, f.dial(t, webID), hello)
	c.watch(1, target(1))
	c.want(1, "first"+large)
	var last string
	for i := range 50 {
		last = fmt.Sprint(i, large)
		f.source.cell(target(1)).Store(outbound(last))
	}
	c.watch(2, target(2))
	for i := range 10 {
		f.source.cell(target(2)).Store(outbound(fmt.Sprint("small", i)))
	}
	values := 0
	for got := ""; got != last; {
		var id uint64
		if id, got = c.next(); id == 1 {
			values++
		}
	}
	if waited := time.Since(begin); waited < 500*time.Millisecond || values > 5 {
		t.Errorf("%d more values until the last, which came after %v", values, waited)
	}
}

func TestEndedStreamReleasesItsWatches(t *testing.T) {
	f := start(t, nil)
	f.source.cell(target(1)).Store(outbound("a"))
	conn := f.dial(t, webID)
	c := subscribe(t, conn, hello)
	c.watch(1, target(1))
	c.watch(2, target(1))
	c.want(1, "a")
	c.want(2, "a")
	if got := f.source.opened(); got != 2 {
		t.Errorf("%d watches open, want 2", got)
	}
	c.cancel()
	f.stop() // waits for the stream's end
	if got := f.source.opened(); got != 0 {
		t.Errorf("%d watches open after the stream, want 0", got)
	}
	if got := testutil.ToFloat64(f.server.metrics.watches); got != 0 {
		t.Errorf("gauge says %v watches after the stream, want 0", got)
	}
	if got := testutil.ToFloat64(f.server.metrics.streams); got != 0 {
		t.Errorf("gauge says %v streams after the stream, want 0", got)
	}
}

func TestServerThatEndsSendsProxiesElsewhere(t *testing.T) {
	f := start(t, nil)
	f.source.cell(target(1)).Store(outbound("a"))
	c := subscribe(t, f.dial(t, webID), hello)
	c.watch(1, target(1))
	c.want(1, "a")
	f.stop()
	if _, err := c.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestRefusals(t *testing.T) {
	bad := &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{Watch: &pb.Watch{Outbound: &pb.Address{Ip: []byte{1},
		Port: 80}}}}
	for name, test := range map[string]struct {
		id     mesh.ID
		hello  *pb.Hello
		after  func(*client)
		code   codes.Code
		reason reason
	}{
		"namespace of somebody else": {
			id: webID, hello: &pb.Hello{Namespace: "bank", Pod: "web-1"}, code: codes.PermissionDenied, reason: wrongNamespace,
		},
		"pod of another service account": {
			id: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "api"}, hello: hello,
			code: codes.PermissionDenied, reason: wrongServiceAccount,
		},
		"pod that is not known": {
			id: webID, hello: &pb.Hello{Namespace: "shop", Pod: "web-9"}, code: codes.Unavailable, reason: unknownPod,
		},
		"pod that was on another node when it was known": {
			id: webID, hello: &pb.Hello{Namespace: "shop", Pod: "web-1",
				Node: "node-2"}, code: codes.Unavailable, reason: unknownPod,
		},
		"watch before hello": {
			id: webID, after: func(c *client) { c.watch(1, target(1)) }, code: codes.InvalidArgument, reason: noHello,
		},
		"silence": {id: webID, code: codes.DeadlineExceeded, reason: noHello},
		"second hello": {
			id: webID, hello: hello, after: func(c *client) {
				c.send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: hello}})
			},
			code: codes.InvalidArgument, reason: badRequest,
		},
		"address that is none": {
			id: webID, hello: hello, after: func(c *client) { c.send(bad) }, code: codes.InvalidArgument, reason: badRequest,
		},
		"ID in use": {
			id: webID, hello: hello, after: func(c *client) { c.watch(1, target(1)); c.watch(1, target(2)) },
			code: codes.InvalidArgument, reason: badRequest,
		},
		"one watch too many": {
			id: webID, hello: hello, after: func(c *client) {
				for i := range 4 {
					c.watch(uint64(i), target(i))
				}
			},
			code: codes.ResourceExhausted, reason: tooManyWatches,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(c *Config) {
				c.MaxWatches = 3
				if name == "silence" {
					c.HelloTimeout = 20 * time.Millisecond
				}
			})
			c := subscribe(t, f.dial(t, test.id), test.hello)
			if test.after != nil {
				test.after(c)
			}
			_, err := c.Recv()
			if status.Code(err) != test.code || !strings.Contains(status.Convert(err).Message(), string(test.reason)) {
				t.Errorf("got %v, want %v with %q", err, test.code, test.reason)
			}
			if got := testutil.ToFloat64(f.server.metrics.refusals.WithLabelValues(string(test.reason))); got != 1 {
				t.Errorf("refusals{reason=%q} = %v, want 1", test.reason, got)
			}
		})
	}
}

func TestStreamsOfAPodAreBounded(t *testing.T) {
	f := start(t, func(c *Config) { c.MaxStreams = 2 })
	f.source.cell(target(1)).Store(outbound("a"))
	for range 2 {
		c := subscribe(t, f.dial(t, webID), hello)
		c.watch(1, target(1))
		c.want(1, "a")
	}
	_, err := subscribe(t, f.dial(t, webID), hello).Recv()
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("third stream: got %v, want ResourceExhausted", err)
	}
}

func TestPeerWithoutMeshIdentityGetsNoConnection(t *testing.T) {
	f := start(t, func(c *Config) {
		c.HandshakeReason = func(err error) string {
			var peer *workload.PeerError
			if errors.As(err, &peer) {
				return string(peer.Reason)
			}
			return "tls"
		}
	})
	other := meshtest.NewCA(t)
	for name, conn := range map[string]*grpc.ClientConn{
		"no certificate": f.dialTLS(t, &tls.Config{InsecureSkipVerify: true}),
		"certificate of elsewhere": f.dialTLS(t,
			&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{other.Issue(webID)}}),
		"no TLS": plaintext(t, f.addr),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		rpc, err := pb.NewDiscoveryClient(conn).Subscribe(ctx)
		if err == nil {
			_, err = rpc.Recv()
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s: got %v, want Unavailable", name, err)
		}
		cancel()
	}
	// In TLS 1.3 the client may know before the server does; the server counts a moment later.
	for _, reason := range []workload.Reason{workload.Untrusted, "tls"} {
		counter := f.server.metrics.handshakes.WithLabelValues(string(reason))
		for deadline := time.Now().Add(5 * time.Second); testutil.ToFloat64(counter) == 0; <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no handshake failure is counted with reason %q", reason)
			}
		}
	}
}

func plaintext(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
