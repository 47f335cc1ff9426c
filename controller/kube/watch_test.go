package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
)

// cluster is a pretended API server, which one goroutine of a synctest bubble drives.
type cluster struct {
	t        *testing.T
	core     *fake.Clientset
	objects  *dynamicfake.FakeDynamicClient
	names    *metadatafake.FakeMetadataClient
	registry *prometheus.Registry
	watcher  *Watcher
	events   chan model.Event
	serial   int

	mu       sync.Mutex // guards the field below
	problems []model.Problem
}

func newCluster(t *testing.T) *cluster {
	lists := map[schema.GroupVersionResource]string{definitionResource(): definitionKind + "List"}
	for _, k := range kinds.Configuration() {
		for _, version := range k.Versions {
			lists[k.Resource(version)] = k.Name + "List"
		}
	}
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, core: fake.NewClientset(), objects: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			lists),
		names: metadatafake.NewSimpleMetadataClient(scheme), registry: prometheus.NewRegistry(),
		events: make(chan model.Event, 4096),
	}
	c.watcher = NewWatcher(c.config(), c)
	return c
}

func (c *cluster) config() Config {
	return Config{Log: zap.NewNop(), Registry: c.registry, Clients: Clients{c.core, c.objects, c.names}}
}

// Report implements reporter.
func (c *cluster) Report(p model.Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, p)
}

// reported returns the one problem that there is.
func (c *cluster) reported() model.Problem {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.problems) != 1 {
		c.t.Fatalf("reported %v, want one problem", c.problems)
	}
	return c.problems[0]
}

// run watches until the test ends, and returns when everything rests.
func (c *cluster) run() {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() { done <- c.watcher.Run(ctx, c.events) }()
	c.t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
}

// published returns the events since the last call, sorted, when everything rests.
func (c *cluster) published() []string {
	c.t.Helper()
	time.Sleep(time.Minute) // of the bubble: longer than any back-off
	synctest.Wait()
	var out []string
	for {
		select {
		case e := <-c.events:
			out = append(out, describe(e))
		default:
			slices.Sort(out)
			return out
		}
	}
}

func describe(e model.Event) string {
	switch {
	case e.Synced:
		return "synced"
	case e.Deleted:
		return "- " + e.Object.GetName()
	default:
		return strings.TrimSpace(fmt.Sprintf("+ %s/%d %s", e.Object.GetName(), e.Object.GetGeneration(),
			strings.Join(e.Unknown, " ")))
	}
}

func (c *cluster) want(want ...string) {
	c.t.Helper()
	if got := c.published(); !slices.Equal(got, want) {
		c.t.Errorf("told %q, want %q", got, want)
	}
}

func (c *cluster) missing(want float64) {
	c.t.Helper()
	if got := testutil.ToFloat64(c.watcher.metrics.missing.WithLabelValues(gatewayv1.GroupName,
		"HTTPRoute")); got != want {
		c.t.Errorf("missing = %v, want %v", got, want)
	}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// httpRoutes is the name of the definition that the tests play with.
const httpRoutes = "httproutes." + gatewayv1.GroupName

func routes(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: gatewayv1.GroupName, Version: version, Resource: "httproutes"}
}

// define installs the definition of HTTPRoute, in the versions that are served.
func (c *cluster) define(versions ...string) {
	c.serial++
	u := &unstructured.Unstructured{}
	list := make([]any, 0, len(versions))
	for _, v := range versions {
		list = append(list, map[string]any{"name": v, "served": true})
	}
	u.Object = map[string]any{
		"apiVersion": definitionGroup + "/v1", "kind": definitionKind,
		"metadata": map[string]any{"name": httpRoutes, "uid": fmt.Sprint("d", c.serial)},
		"spec":     map[string]any{"versions": list},
		"status":   map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}},
	}
	c.must(c.objects.Tracker().Create(definitionResource(), u, ""))
	c.must(c.names.Tracker().Create(definitionResource(), c.marked(false), ""))
}

func (c *cluster) marked(leaving bool) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: definitionGroup + "/v1", Kind: definitionKind},
		ObjectMeta: metav1.ObjectMeta{Name: httpRoutes, UID: types.UID(fmt.Sprint("d", c.serial)),
			ResourceVersion: fmt.Sprint(c.serial)},
	}
	if leaving {
		m.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	}
	return m
}

// leave marks the definition, and undefine removes it.
func (c *cluster) leave() {
	c.must(c.names.Tracker().Update(definitionResource(), c.marked(true), ""))
}

func (c *cluster) undefine() {
	c.must(c.names.Tracker().Delete(definitionResource(), "", httpRoutes))
	c.must(c.objects.Tracker().Delete(definitionResource(), "", httpRoutes))
}

// route returns an HTTPRoute; more is YAML at the top level.
func (c *cluster) route(name string, generation int64, more string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	c.must(yaml.Unmarshal([]byte(more), &u.Object))
	if u.Object == nil {
		u.Object = map[string]any{}
	}
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

func (c *cluster) create(name string, more string) {
	c.must(c.objects.Tracker().Create(routes("v1"), c.route(name, 1, more), "shop"))
}

func (c *cluster) update(name string, generation int64, more string) {
	c.must(c.objects.Tracker().Update(routes("v1"), c.route(name, generation, more), "shop"))
}

func (c *cluster) remove(names ...string) {
	for _, name := range names {
		c.must(c.objects.Tracker().Delete(routes("v1"), "shop", name))
	}
}

// bubble runs a test in one.
func bubble(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newCluster(t)) })
}

func TestKindThatIsNotDefinedIsNoError(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.run()
		c.want("synced")
		c.missing(0)
	})
}

func TestKindIsWatchedOnceItIsDefined(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.run()
		c.want("synced")
		c.create("web", "")
		c.define("v1")
		c.want("+ web/1")
		c.create("api", "")
		c.want("+ api/1")
	})
}

func TestBestServedVersionIsWatched(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1beta1", "v1alpha2")
		c.must(c.objects.Tracker().Create(routes("v1beta1"), c.route("old", 1, ""), "shop"))
		c.create("new", "")
		c.run()
		c.want("+ old/1", "synced")
		c.undefine()
		c.define("v1", "v1beta1")
		c.want("+ new/1", "- old")
	})
}

func TestSyncedComesAfterConfiguration(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		for i := range 50 {
			c.create(fmt.Sprint("route-", i), "")
		}
		c.run()
		for range 50 {
			if e := <-c.events; e.Synced {
				t.Fatal("synced before the last route")
			}
		}
		c.want("synced")
	})
}

func TestDeletionIsAnEvent(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "")
		c.create("api", "")
		c.run()
		c.want("+ api/1", "+ web/1", "synced")
		c.remove("web")
		c.want("- web")
	})
}

func TestObjectsStayInForceWithoutTheirDefinition(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "")
		c.create("api", "")
		c.run()
		c.published()

		c.leave()
		c.remove("web", "api")
		c.undefine()
		c.want()
		c.missing(1)
		if p := c.reported(); p.Object.Name != httpRoutes || reason(p) != "DefinitionRemoved" {
			t.Errorf("reported %s %v, want DefinitionRemoved of the definition", reason(p), p)
		}

		c.create("api", "")
		c.create("cart", "")
		c.define("v1")
		c.want("+ cart/1", "- web") // api is as it was
		c.missing(0)
	})
}

func TestDefinitionWithoutAKnownVersionIsNotReportedAsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "")
		c.run()
		c.published()

		c.must(c.objects.Tracker().Delete(definitionResource(), "", httpRoutes))
		c.must(c.names.Tracker().Delete(definitionResource(), "", httpRoutes))
		c.define("v2")
		c.want()
		c.missing(1)
		p := c.reported()
		if reason(p) != "DefinitionUnusable" || !strings.HasPrefix(p.Message, noVersionKnown) {
			t.Errorf("reported %s %q, want DefinitionUnusable: %s", reason(p), p.Message, noVersionKnown)
		}
	})
}

// TestDeletionThatOverrunsItsDefinitionIsNotBelieved has the deletions arrive while the watch of definitions is late.
func TestDeletionThatOverrunsItsDefinitionIsNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		late := watch.NewRaceFreeFake()
		c.names.PrependWatchReactor("*", func(clienttesting.Action) (bool, watch.Interface, error) { return true, late, nil })
		c.define("v1")
		c.create("web", "")
		c.run()
		c.want("+ web/1", "synced")
		c.leave()
		c.remove("web")
		c.want()
		c.missing(1)
		late.Modify(c.marked(true))
		c.want()
		c.undefine()
		late.Delete(c.marked(true))
		c.want()
	})
}

// TestDeletionWaitsForTheAPIServer lets the look at the definition fail for a while.
func TestDeletionWaitsForTheAPIServer(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "")
		c.run()
		c.want("+ web/1", "synced")
		var away atomic.Bool
		away.Store(true)
		c.names.PrependReactor("get", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			return away.Load(), nil, fmt.Errorf("away")
		})
		c.remove("web")
		c.want()
		away.Store(false)
		c.want("- web")
	})
}

func TestObjectThatCannotBeDecodedIsIsolated(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "")
		c.create("broken", "spec: {rules: 5}")
		c.run()
		c.want("+ web/1", "synced")
		if p := c.reported(); p.Object.Name != "broken" || !strings.Contains(p.Message, "rules") {
			t.Errorf("reported %v, want broken, and where", p)
		}
		c.update("web", 2, "spec: {hostnames: web}")
		c.update("broken", 2, "spec: {rules: []}")
		c.want("+ broken/2") // web keeps what it said
		c.update("web", 3, "spec: {}")
		c.want("+ web/3")
		if got := testutil.ToFloat64(c.watcher.metrics.failures.WithLabelValues(gatewayv1.GroupName, "HTTPRoute")); got != 2 {
			t.Errorf("%v failures, want 2", got)
		}
	})
}

func TestFieldsThatTheTypeLacksAreNamed(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "spec: {rules: [{color: blue, backendRefs: [{name: a, port: 80, speed: 9}]}]}\nstatus: {mood: good}")
		c.run()
		c.want("+ web/1 spec.rules[0].backendRefs[0].speed spec.rules[0].color", "synced")
	})
}

func TestChangeOfStatusIsNotAnEvent(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		c.define("v1")
		c.create("web", "")
		c.run()
		c.published()
		c.update("web", 1, `status: {parents: [{controllerName: example.com/other, parentRef: {name: web}}]}`)
		c.want()
		view, ok := c.watcher.Observed(ID{schema.GroupKind{Group: gatewayv1.GroupName, Kind: "HTTPRoute"},
			types.NamespacedName{Namespace: "shop", Name: "web"}})
		if !ok || len(view.Status.Parents) != 1 {
			t.Errorf("observed %+v, want the status", view)
		}
		u := c.route("web", 1, "")
		u.SetAnnotations(map[string]string{"retry.linkerd.io/http": "5xx"})
		c.must(c.objects.Tracker().Update(routes("v1"), u, "shop"))
		c.want("+ web/1") // annotations count
	})
}

func TestConfigurationIsStripped(t *testing.T) {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  labels: {app: web}
  annotations: {timeout.linkerd.io/request: 1s, fault.tulle.dev/until: soon, kubectl.kubernetes.io/last-applied-configuration: long}
  managedFields: [{manager: kubectl}]
status: {parents: []}
`), &u.Object); err != nil {
		t.Fatal(err)
	}
	o := decode(kinds.Configuration()[0], u).Object.(*gatewayv1.HTTPRoute)
	keys := slices.Sorted(maps.Keys(o.Annotations))
	if o.ManagedFields != nil || o.Status.Parents != nil || len(o.Labels) != 1 ||
		!slices.Equal(keys, []string{"fault.tulle.dev/until", "timeout.linkerd.io/request"}) {
		t.Errorf("got %+v", o)
	}
}
