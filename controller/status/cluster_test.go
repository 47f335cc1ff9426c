package status

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	routes      = schema.GroupVersionResource{Group: gatewayv1.GroupName, Version: "v1", Resource: "httproutes"}
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
		Resource: "customresourcedefinitions"}
)

// cluster is a fake API server that defines HTTPRoutes alone, and a watch of it. One goroutine of a synctest bubble
// drives it.
type cluster struct {
	t       *testing.T
	core    *fake.Clientset
	objects *dynamicfake.FakeDynamicClient
	names   *metadatafake.FakeMetadataClient
	watcher *kube.Watcher
	config  kube.Config
	serial  int
}

func newCluster(t *testing.T) *cluster {
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, core: fake.NewClientset(), names: metadatafake.NewSimpleMetadataClient(scheme),
		objects: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{
				routes: "HTTPRouteList", definitions: "CustomResourceDefinitionList",
			}),
	}
	c.config = kube.Config{Log: zap.NewNop(), Registry: prometheus.NewRegistry(), Clients: kube.Clients{
		Kubernetes: c.core, Dynamic: c.objects, Metadata: c.names,
	}}
	c.watcher = kube.NewWatcher(c.config, nobody{})
	return c
}

// nobody reads what is wrong with objects.
type nobody struct{}

func (nobody) Report(model.Problem) {}

// run watches until the test ends, and returns when everything rests. Nobody reads the events: there are fewer than the
// channel holds.
func (c *cluster) run() {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() { done <- c.watcher.Run(ctx, make(chan model.Event, 4096)) }()
	c.t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
}

func (c *cluster) rest() {
	time.Sleep(time.Minute) // of the bubble: longer than any back-off
	synctest.Wait()
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) define() {
	name := routes.GroupResource().String()
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": name, "uid": "d"},
		"spec":     map[string]any{"versions": []any{map[string]any{"name": "v1", "served": true}}},
		"status":   map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}},
	}}
	c.must(c.objects.Tracker().Create(definitions, u, ""))
	c.must(c.names.Tracker().Create(definitions, &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "d", ResourceVersion: "1"},
	}, ""))
}

func (c *cluster) route(name string, generation int64) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(gatewayv1.GroupName + "/v1")
	u.SetKind("HTTPRoute")
	u.SetNamespace("shop")
	u.SetName(name)
	u.SetUID(types.UID("uid-" + name))
	u.SetGeneration(generation)
	c.serial++
	u.SetResourceVersion(fmt.Sprint(c.serial))
	return u
}

func (c *cluster) create(name string) {
	c.must(c.objects.Tracker().Create(routes, c.route(name, 1), "shop"))
}

func (c *cluster) update(name string, generation int64) {
	c.must(c.objects.Tracker().Update(routes, c.route(name, generation), "shop"))
}

// bubble runs a test in one.
func bubble(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newCluster(t)) })
}
