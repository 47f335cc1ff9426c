package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is of a cluster that defines no kinds of its own.
func config(client *fake.Clientset) Config {
	scheme := runtime.NewScheme()
	_ = metav1.AddMetaToScheme(scheme)
	return Config{Log: zap.NewNop(), Registry: prometheus.NewRegistry(), Clients: Clients{
		Kubernetes: client, Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()),
		Metadata: metadatafake.NewSimpleMetadataClient(scheme),
	}}
}

// start runs a Watcher and returns its events. The channel has no capacity, so that an event that was received was
// handled in order.
func start(t *testing.T, client *fake.Clientset) <-chan model.Event {
	t.Helper()
	out := make(chan model.Event)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	c := config(client)
	w := NewWatcher(c, NewRecorder(c))
	go func() { done <- w.Run(ctx, out) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return out
}

func next(t *testing.T, events <-chan model.Event) model.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event within a minute")
		return model.Event{}
	}
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }

func TestSyncedComesAfterEveryObjectOfTheStart(t *testing.T) {
	objects := []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}},
	}
	for i := range 20 {
		objects = append(objects, &corev1.Service{ObjectMeta: meta(fmt.Sprint("s", i))},
			&corev1.Pod{ObjectMeta: meta(fmt.Sprint("p", i))},
			&discoveryv1.EndpointSlice{ObjectMeta: meta(fmt.Sprint("e", i))})
	}
	events := start(t, fake.NewClientset(objects...))
	n := 0
	for e := next(t, events); !e.Synced; e = next(t, events) {
		n++
	}
	if n != len(objects) {
		t.Errorf("%d events before Synced, want %d", n, len(objects))
	}
}

func TestChangesAreEvents(t *testing.T) {
	client := fake.NewClientset(&corev1.Service{ObjectMeta: meta("web"), Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}})
	events := start(t, client)
	for e := next(t, events); !e.Synced; e = next(t, events) {
	}
	services := client.CoreV1().Services("shop")
	changed := &corev1.Service{ObjectMeta: meta("web"), Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.2"}}
	if _, err := services.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events); e.Deleted || e.Object.(*corev1.Service).Spec.ClusterIP != "10.96.0.2" {
		t.Errorf("got %+v, want the update", e)
	}
	if err := services.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events); !e.Deleted || e.Object.GetName() != "web" {
		t.Errorf("got %+v, want the deletion", e)
	}
}

// TestBrokenWatchChangesNothing lets the API server end a watch and refuse the next list twice. When it is back, a new
// object must be the only event: nothing that still exists is reported to be gone, even for a moment.
func TestBrokenWatchChangesNothing(t *testing.T) { synctest.Test(t, testBrokenWatch) }

func testBrokenWatch(t *testing.T) {
	client := fake.NewClientset(&corev1.Pod{ObjectMeta: meta("web-1")})
	watches := make(chan *watch.RaceFreeFakeWatcher, 8)
	client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
		w := watch.NewRaceFreeFake()
		watches <- w
		return true, w, nil
	})
	refusals := make(chan struct{}, 2)
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		select {
		case <-refusals:
			return true, nil, apierrors.NewServiceUnavailable("away")
		default:
			return false, nil, nil
		}
	})
	events := start(t, client)
	for e := next(t, events); !e.Synced; e = next(t, events) {
	}
	refusals <- struct{}{}
	refusals <- struct{}{}
	if err := client.Tracker().Add(&corev1.Pod{ObjectMeta: meta("web-2")}); err != nil {
		t.Fatal(err)
	}
	(<-watches).Error(&apierrors.NewResourceExpired("compacted").ErrStatus)
	e := next(t, events)
	for !e.Deleted && e.Object.GetName() == "web-1" { // seen again, unchanged
		e = next(t, events)
	}
	if e.Deleted || e.Object.GetName() != "web-2" {
		t.Errorf("got %+v, want web-2 and nothing else", e)
	}
}

func TestPodsThatHaveEndedAreNotAskedFor(t *testing.T) {
	client := fake.NewClientset()
	events := start(t, client)
	for e := next(t, events); !e.Synced; e = next(t, events) {
	}
	for _, a := range client.Actions() {
		if a.GetResource().Resource == "pods" {
			if l, ok := a.(clienttesting.ListAction); ok && l.GetListRestrictions().Fields.String() != livePods {
				t.Errorf("pods are listed by %q, want %q", l.GetListRestrictions().Fields, livePods)
			}
		}
	}
}

func TestRecorderWritesAnEventOnce(t *testing.T) {
	client := fake.NewClientset()
	r := NewRecorder(config(client))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	created := make(chan *corev1.Event, 4)
	client.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		created <- a.(clienttesting.CreateAction).GetObject().(*corev1.Event)
		return false, nil, nil
	})
	pod := model.Problem{
		Object: model.ObjectRef{Kind: "Pod", Namespace: "shop", Name: "web-1",
			UID: "1"}, Finding: compile.Finding{Path: mesh.OpaquePortsAnnotation, Message: "no port"},
	}
	namespace := model.Problem{
		Object: model.ObjectRef{Kind: "Namespace", Name: "shop",
			UID: "2"}, Finding: compile.Finding{Path: mesh.OpaquePortsAnnotation, Message: "no port"},
	}
	for _, p := range []model.Problem{pod, pod, namespace} {
		r.Report(p)
	}
	first, second, third := <-created, <-created, <-created
	if first.Name != second.Name || first.Namespace != "shop" || first.InvolvedObject.Name != "web-1" ||
		first.Message != "annotation config.linkerd.io/opaque-ports: no port" {
		t.Errorf("got %v and %v, want one name for one problem", first, second)
	}
	if third.Namespace != "default" || third.Type != corev1.EventTypeWarning {
		t.Errorf("got %v, want a warning in namespace default", third)
	}
	cancel()
	<-done
	if got := testutil.ToFloat64(r.results.WithLabelValues("known")); got != 1 {
		t.Errorf("known = %v, want 1", got)
	}
}

func TestReportNeverBlocks(t *testing.T) {
	r := NewRecorder(config(fake.NewClientset()))
	for range eventQueue + 3 {
		r.Report(model.Problem{})
	}
	if got := testutil.ToFloat64(r.results.WithLabelValues("dropped")); got != 3 {
		t.Errorf("dropped = %v, want 3", got)
	}
}
