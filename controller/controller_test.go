package controller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a running controller whose events the test sends.
type fixture struct {
	*Controller
	t        testing.TB
	events   chan model.Event
	problems chan model.Problem
	stop     func()

	mu       sync.Mutex // guards the field below
	outcomes map[string]model.Outcome
}

func (f *fixture) Report(p model.Problem) { f.problems <- p }

// Publish keeps the latest outcome of every object.
func (f *fixture) Publish(all []model.Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range all {
		f.outcomes[s.Object.Name] = s
	}
}

func start(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, events: make(chan model.Event), problems: make(chan model.Problem, 16),
		outcomes: map[string]model.Outcome{}}
	f.Controller = New(Config{
		Log: zap.NewNop(), Registry: prometheus.NewRegistry(), Events: f.events, Problems: f, Outcomes: f,
		Model: model.Config{
			TrustDomain: "cluster.local", ClusterDomain: "cluster.local", ControlPlaneNamespace: "tulle",
			DefaultPolicy: mesh.AllUnauthenticated,
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) apply(objects ...metav1.Object) {
	for _, o := range objects {
		f.events <- model.Event{Object: o}
	}
}

func (f *fixture) sync() {
	f.events <- model.Event{Synced: true}
	<-f.Synced()
}

// waitForLoop returns when everything that was sent before has been published: a watch that came later has its value,
// and an op that came after that finds the loop past publishing.
func (f *fixture) waitForLoop() {
	f.t.Helper()
	cell, stop, err := f.Watch(context.Background(), mesh.Client{},
		mesh.Target{Addr: netip.MustParseAddrPort("192.0.2.255:1")})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, _, err := cell.Wait(context.Background(), 0); err != nil {
		f.t.Fatal(err)
	}
	stop()
	f.look(func(*table) {})
}

// look runs on the loop's goroutine. It works in a Cleanup too, when the test's context has ended.
func (f *fixture) look(at func(*table)) {
	f.t.Helper()
	if err := f.do(context.Background(), func() { at(f.table) }); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) watch(client mesh.Client, target string) (*latest.Cell[*discovery.Value], func()) {
	f.t.Helper()
	var t mesh.Target
	if target != "" {
		t.Addr = netip.MustParseAddrPort(target)
	}
	cell, stop, err := f.Watch(f.t.Context(), client, t)
	if err != nil {
		f.t.Fatal(err)
	}
	return cell, stop
}

func (f *fixture) wait(cell *latest.Cell[*discovery.Value], seen uint64) (*discovery.Value, uint64) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	value, seq, err := cell.Wait(ctx, seen)
	if err != nil {
		f.t.Fatal(err)
	}
	return value, seq
}

func node(name, zone string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name,
		Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
}

func service(i int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("svc-", i)},
		Spec: corev1.ServiceSpec{ClusterIP: fmt.Sprintf("10.96.%d.%d", i>>8, i&255),
			Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

// slice has n endpoints of the Service.
func slice(i, n int) *discoveryv1.EndpointSlice {
	port := int32(8080)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprint("svc-",
				i), Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprint("svc-", i)},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}
	for j := range n {
		name := fmt.Sprint("node-", j)
		addr := fmt.Sprintf("10.%d.%d.%d", 1+j, i>>8, i&255)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{addr}, NodeName: &name})
	}
	return s
}

func pod(name, nodeName string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: annotations},
		Spec:       corev1.PodSpec{NodeName: nodeName, ServiceAccountName: "web"},
	}
}

func TestNothingIsAnsweredBeforeSync(t *testing.T) {
	f := start(t)
	cell, _ := f.watch(mesh.Client{Node: "node-0"}, "10.96.0.1:80")
	f.apply(service(1))
	f.look(func(*table) {}) // one batch at least is over
	f.look(func(*table) {})
	if v, seq := cell.Load(); seq != 0 {
		t.Fatalf("got %+v before sync", v.Outbound)
	}
	f.apply(slice(1, 2))
	f.sync()
	if v, _ := f.wait(cell, 0); len(v.Outbound.Endpoints) != 2 {
		t.Errorf("got %+v, want 2 endpoints", v.Outbound)
	}
}

func TestChangesReachTheirWatchesAlone(t *testing.T) {
	f := start(t)
	f.apply(service(1), slice(1, 1), service(2), slice(2, 1))
	f.sync()
	one, _ := f.watch(mesh.Client{}, "10.96.0.1:80")
	two, _ := f.watch(mesh.Client{}, "10.96.0.2:80")
	_, seen := f.wait(one, 0)
	f.wait(two, 0)
	f.apply(slice(1, 3))
	if v, _ := f.wait(one, seen); len(v.Outbound.Endpoints) != 3 {
		t.Errorf("got %+v, want 3 endpoints", v.Outbound)
	}
	if _, seq := two.Load(); seq != 1 {
		t.Errorf("the other Service was published %d times, want 1", seq)
	}
}

func TestChangeThatChangesNothingIsNotPublished(t *testing.T) {
	f := start(t)
	f.apply(service(1), slice(1, 1))
	f.sync()
	cell, _ := f.watch(mesh.Client{}, "10.96.0.1:80")
	f.wait(cell, 0)
	f.apply(slice(1, 1), service(1), node("node-9", "z"))
	f.waitForLoop()
	if _, seq := cell.Load(); seq != 1 {
		t.Errorf("published %d times, want 1", seq)
	}
}

// TestProxiesOfAZoneShareOneValue watches from many nodes of two zones; a Service that turns to endpoints on the same
// node makes the values differ, and back.
func TestProxiesOfAZoneShareOneValue(t *testing.T) {
	f := start(t)
	f.apply(service(1), slice(1, 4))
	for i := range 4 {
		f.apply(node(fmt.Sprint("node-", i), [...]string{"a", "b"}[i%2]))
	}
	f.sync()
	var cells []*latest.Cell[*discovery.Value]
	for i := range 4 {
		for range 3 { // proxies on the node
			cell, _ := f.watch(mesh.Client{Node: fmt.Sprint("node-", i)}, "10.96.0.1:80")
			cells = append(cells, cell)
		}
	}
	distinct := func(seen uint64) int {
		t.Helper()
		values := map[*discovery.Value]bool{}
		for _, cell := range cells {
			v, _ := f.wait(cell, seen)
			values[v] = true
		}
		return len(values)
	}
	if got := distinct(0); got != 2 {
		t.Errorf("%d values for two zones, want 2", got)
	}
	local := service(1)
	policy := corev1.ServiceInternalTrafficPolicyLocal
	local.Spec.InternalTrafficPolicy = &policy
	f.apply(local)
	if got := distinct(1); got != 4 {
		t.Errorf("%d values for four nodes, want 4", got)
	}
	f.apply(service(1))
	if got := distinct(2); got != 2 {
		t.Errorf("%d values for two zones again, want 2", got)
	}
	if got := testutil.ToFloat64(f.metrics.answers); got != 2 {
		t.Errorf("%v answers are held, want 2", got)
	}
}

func TestReleasedWatchesAreForgotten(t *testing.T) {
	f := start(t)
	f.apply(service(1), pod("web-1", "node-0", nil))
	f.sync()
	client := mesh.Client{Namespace: "shop", Pod: "web-1", Node: "node-0"}
	var stops []func()
	for range 2 {
		for _, target := range []string{"10.96.0.1:80", "10.96.0.1:81", "192.0.2.1:1", ""} {
			cell, stop := f.watch(client, target)
			f.wait(cell, 0)
			stops = append(stops, stop)
		}
	}
	for _, stop := range stops {
		stop()
	}
	f.waitForLoop()
	f.look(func(tb *table) {
		if n := len(tb.topics) + len(tb.byAddr) + len(tb.byPod) + len(tb.answers) + len(tb.touched); n != 0 {
			t.Errorf("%d entries left: %+v", n, tb)
		}
	})
}

func TestNamespacePolicyIsLive(t *testing.T) {
	f := start(t)
	f.apply(pod("web-1", "node-0", nil))
	f.sync()
	cell, _ := f.watch(mesh.Client{Namespace: "shop", Pod: "web-1"}, "")
	if v, _ := f.wait(cell, 0); v.Inbound.Default.Policy != mesh.AllUnauthenticated {
		t.Errorf("got %v", v.Inbound.Default)
	}
	f.apply(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "shop", Annotations: map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"},
	}})
	if v, _ := f.wait(cell, 1); v.Inbound.Default.Policy != mesh.Deny {
		t.Errorf("got %v, want deny", v.Inbound.Default)
	}
}

func TestDeletedPodKeepsItsLastPolicy(t *testing.T) {
	f := start(t)
	web := pod("web-1", "node-0", map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"})
	f.apply(web)
	f.sync()
	cell, _ := f.watch(mesh.Client{Namespace: "shop", Pod: "web-1"}, "")
	f.wait(cell, 0)
	f.events <- model.Event{Object: web, Deleted: true}
	f.waitForLoop()
	if v, seq := cell.Load(); seq != 1 || v.Inbound.Default.Policy != mesh.Deny {
		t.Errorf("got %+v at %d, want the last policy, deny", v.Inbound, seq)
	}
}

func TestMistakesAreReportedAndCounted(t *testing.T) {
	f := start(t)
	f.apply(pod("web-1", "node-0", map[string]string{mesh.OpaquePortsAnnotation: "many"}))
	if p := <-f.problems; p.Object.Name != "web-1" || p.Path != mesh.OpaquePortsAnnotation {
		t.Errorf("got %+v", p)
	}
	if got := testutil.ToFloat64(f.metrics.problems.WithLabelValues(mesh.OpaquePortsAnnotation)); got != 1 {
		t.Errorf("counter says %v, want 1", got)
	}
}

func TestIdentify(t *testing.T) {
	f := start(t)
	f.apply(pod("web-1", "node-0", nil))
	f.sync()
	if n, sa, err := f.Identify(t.Context(), "shop", "web-1"); n != "node-0" || sa != "web" || err != nil {
		t.Errorf("got %q, %q, %v; want node-0, web", n, sa, err)
	}
	if _, _, err := f.Identify(t.Context(), "shop", "web-2"); !errors.Is(err, discovery.ErrUnknownPod) {
		t.Errorf("got %v, want ErrUnknownPod", err)
	}
}

func TestClientsOfAnEndedControllerDoNotHang(t *testing.T) {
	f := start(t)
	f.sync()
	_, stop := f.watch(mesh.Client{}, "10.96.0.1:80")
	f.stop()
	stop()
	if _, _, err := f.Watch(t.Context(), mesh.Client{}, mesh.Target{}); err == nil {
		t.Error("Watch of an ended controller returned no error")
	}
}
