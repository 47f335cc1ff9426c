package control

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	web    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	target = mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.10:80")}
)

func service(name string) *mesh.Outbound {
	return &mesh.Outbound{Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: name, Port: 80},
		Authority: name}
}

func policy(p mesh.AccessPolicy) *mesh.Inbound {
	return &mesh.Inbound{Default: mesh.PortPolicy{Policy: p}}
}

// start runs a client until the test ends.
func start(t *testing.T, ca *meshtest.CA, addr string, changed func(mesh.Target), more ...func(*Config)) (*Client,
	context.Context) {
	t.Helper()
	cfg := Config{
		Addr: addr, TLS: ca.Certs(web).ClientTLS(meshtest.DestinationID, "h2"),
		Namespace: "shop", Pod: "web-1", Changed: changed, Log: zap.NewNop(),
	}
	for _, change := range more {
		change(&cfg)
	}
	c := New(cfg)
	run, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(run) })
	ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(func() { done(); cancel(); wg.Wait() })
	return c, ctx
}

func TestValuesArriveAndFollow(t *testing.T) {
	ca := meshtest.NewCA(t)
	plane := meshtest.NewControlPlane(t, ca)
	plane.SetInbound(policy(mesh.Deny))
	plane.SetOutbound(target, service("a"))
	changes := make(chan mesh.Target, 16)
	c, ctx := start(t, ca, plane.Addr(), func(t mesh.Target) { changes <- t })
	cell := c.Watch(target)
	if c.Watch(target) != cell {
		t.Fatal("watching twice gives two cells")
	}
	got, seq, err := cell.Wait(ctx, 0)
	if diff := cmp.Diff(service("a"), got); err != nil || diff != "" {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	plane.SetOutbound(target, service("b"))
	if got, _, err = cell.Wait(ctx, seq); err != nil || got.Authority != "b" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if in, _, err := c.Inbound().Wait(ctx, 0); err != nil || in.Default.Policy != mesh.Deny {
		t.Fatalf("got %+v, %v", in, err)
	}
	if changed := <-changes; changed != target {
		t.Fatalf("told of %v", changed)
	}
	if s := c.Status(); !s.Connected || s.Stale != 0 || s.Received < 3 {
		t.Fatalf("status %+v", s)
	}
}

func TestUnwatchEndsTheWatch(t *testing.T) {
	ca := meshtest.NewCA(t)
	plane := meshtest.NewControlPlane(t, ca)
	plane.SetInbound(policy(mesh.Deny))
	c, ctx := start(t, ca, plane.Addr(), nil)
	c.Watch(target)
	if err := plane.AwaitWatches(ctx, target, 1); err != nil {
		t.Fatal(err)
	}
	c.Unwatch(target)
	c.Unwatch(target)
	if err := plane.AwaitWatches(ctx, target, 0); err != nil {
		t.Fatal(err)
	}
}

func TestLastValueOutlivesTheControlPlane(t *testing.T) {
	ca := meshtest.NewCA(t)
	plane := meshtest.NewControlPlane(t, ca)
	plane.SetInbound(policy(mesh.AllAuthenticated))
	plane.SetOutbound(target, service("a"))
	c, ctx := start(t, ca, plane.Addr(), nil)
	cell := c.Watch(target)
	_, seq, err := cell.Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	plane.Stop()
	other := mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.11:80")}
	otherCell := c.Watch(other) // requested while the controller is away
	if got, now := cell.Load(); now != seq || got.Authority != "a" {
		t.Fatalf("lost the value: %+v", got)
	}
	plane.SetOutbound(target, service("b"))
	plane.SetOutbound(other, service("c"))
	plane.Start()
	if got, _, err := cell.Wait(ctx, seq); err != nil || got.Authority != "b" {
		t.Fatalf("got %+v, %v after the control plane came back", got, err)
	}
	if got, _, err := otherCell.Wait(ctx, 0); err != nil || got.Authority != "c" {
		t.Fatalf("got %+v, %v for the target that was asked for meanwhile", got, err)
	}
	if s := c.Status(); s.Failures == 0 {
		t.Fatalf("status %+v does not count the failure", s)
	}
}

func TestValueThatMakesNoSenseIsRefused(t *testing.T) {
	ca := meshtest.NewCA(t)
	plane := meshtest.NewControlPlane(t, ca)
	plane.SetInbound(policy(mesh.Deny))
	plane.SetOutbound(target, service("a"))
	c, ctx := start(t, ca, plane.Addr(), nil)
	cell := c.Watch(target)
	_, seq, err := cell.Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	plane.SetOutboundRaw(target, &pb.Outbound{Kind: 99})
	_, inSeq, err := c.Inbound().Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for c.Status().Rejected == 0 { // the refused value has no cell; another value shows that the stream continued
		plane.SetInbound(policy(mesh.Deny))
		if _, inSeq, err = c.Inbound().Wait(ctx, inSeq); err != nil {
			t.Fatal(err)
		}
	}
	if got, now := cell.Load(); now != seq || got.Authority != "a" {
		t.Fatalf("lost the last good value: %+v", got)
	}
}

// ends collects the ends of questions.
type ends struct {
	asked atomic.Int32
	codes chan codes.Code
}

func newEnds() *ends { return &ends{codes: make(chan codes.Code, 16)} }

func (e *ends) hook(cfg *Config) {
	cfg.Asked = func() { e.asked.Add(1) }
	cfg.Answered = func(took time.Duration, code int16) {
		if took < 0 {
			code = -1
		}
		e.codes <- codes.Code(code)
	}
}

func (e *ends) next(ctx context.Context, t *testing.T) codes.Code {
	t.Helper()
	select {
	case code := <-e.codes:
		return code
	case <-ctx.Done():
		t.Fatal("no question ended")
		panic("unreachable")
	}
}

// Every watch is one question on each stream. It has one end: its first value, its unwatch, or the end of the stream.
func TestQuestionsEndOnce(t *testing.T) {
	ca := meshtest.NewCA(t)
	plane := meshtest.NewControlPlane(t, ca)
	plane.SetInbound(policy(mesh.Deny))
	plane.SetOutbound(target, service("a"))
	e := newEnds()
	c, ctx := start(t, ca, plane.Addr(), nil, e.hook)
	cell := c.Watch(target)
	for range 2 { // the pod's own policy and the target
		if code := e.next(ctx, t); code != codes.OK {
			t.Fatalf("ended with %v", code)
		}
	}
	_, seq, err := cell.Wait(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	plane.SetOutbound(target, service("b"))
	if _, _, err := cell.Wait(ctx, seq); err != nil { // later values do not answer a question
		t.Fatal(err)
	}
	silent := mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.11:80")}
	c.Watch(silent)
	if err := plane.AwaitWatches(ctx, silent, 1); err != nil {
		t.Fatal(err)
	}
	c.Unwatch(silent)
	if code := e.next(ctx, t); code != codes.Canceled || e.asked.Load() != 3 {
		t.Fatalf("%d questions, the last ended with %v; want 3 and %v", e.asked.Load(), code, codes.Canceled)
	}
	broken := mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.12:80")}
	plane.SetOutboundRaw(broken, &pb.Outbound{Kind: 99})
	c.Watch(broken)
	if code := e.next(ctx, t); code != codes.Internal {
		t.Fatalf("a value that makes no sense ended the question with %v", code)
	}
	c.Watch(silent)
	if err := plane.AwaitWatches(ctx, silent, 1); err != nil {
		t.Fatal(err)
	}
	plane.Stop()
	if code := e.next(ctx, t); code == codes.OK {
		t.Fatal("a question that the stream left open ended well")
	}
	if code := e.next(ctx, t); code != codes.Unavailable { // the next stream cannot be opened
		t.Fatalf("got %v, want %v", code, codes.Unavailable)
	}
}

// A proxy that stops abandons its questions. That is not a failure of the controller. A question without an answer in
// time is.
func TestQuestionThatIsGivenUpIsNoFailure(t *testing.T) {
	for _, c := range []struct {
		name  string
		stops bool
		want  codes.Code
	}{
		{"the proxy stops", true, codes.Canceled},
		{"the controller says nothing", false, codes.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				if c.stops {
					stop()
				}
				e := newEnds()
				var cfg Config
				e.hook(&cfg)
				client := New(cfg)
				client.observe(watchRequest(2, target))
				client.abandon(awaitFirst(ctx, nil))
				if code := <-e.codes; code != c.want {
					t.Errorf("ended with %v, want %v", code, c.want)
				}
			})
		})
	}
}

func TestAnotherIdentityIsNotAsked(t *testing.T) {
	ca := meshtest.NewCA(t)
	plane := meshtest.NewControlPlane(t, ca)
	plane.SetInbound(policy(mesh.AllUnauthenticated))
	c := New(Config{
		Addr: plane.Addr(), TLS: ca.Certs(web).ClientTLS(web, "h2"), Namespace: "shop", Pod: "web-1", Log: zap.NewNop(),
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if answered, err := c.stream(ctx); answered || err == nil || ctx.Err() != nil {
		t.Fatalf("got %v, %v; want a refusal", answered, err)
	}
	if _, seq := c.Inbound().Load(); seq != 0 {
		t.Fatal("took a policy from an impostor")
	}
}

// registry is a context that counts what waits for its end.
type registry struct {
	context.Context
	waiting atomic.Int32
}

func (*registry) Done() <-chan struct{} { return make(chan struct{}) }

// AfterFunc is what package context calls for each context that is made from this one.
func (r *registry) AfterFunc(func()) (stop func() bool) {
	r.waiting.Add(1)
	return sync.OnceValue(func() bool { r.waiting.Add(-1); return true })
}

// TestAStreamThatFailsLeavesNoContext tries to reach a controller that is away. The context of the proxy's life must
// not collect one more for each try.
func TestAStreamThatFailsLeavesNoContext(t *testing.T) {
	ca := meshtest.NewCA(t)
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = away.Close()
	c := New(Config{
		Addr: away.Addr().String(), TLS: ca.Certs(web).ClientTLS(meshtest.DestinationID, "h2"), Log: zap.NewNop(),
	})
	life := &registry{Context: t.Context()}
	for range 3 {
		if _, err := c.stream(life); err == nil {
			t.Fatal("reached a controller that is away")
		}
	}
	meshtest.Await(t, "the end of all contexts", func() bool { return life.waiting.Load() == 0 })
}
