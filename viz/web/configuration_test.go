package web

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/rights"
)

// configuredCluster has a Service whose route sends a tenth of its requests to a Service of another namespace.
type configuredCluster struct{ pods atomic.Int64 }

// viewer returns the configuration as a viewer sees it who may list what the function allows.
func (c *configuredCluster) viewer(all *configurations,
	may func(resource, namespace string) bool) *viewerConfiguration {
	service := func(namespace, name, ip string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 80}}}}
	}
	kube := fake.NewClientset(service("shop", "web", "10.0.0.1"), service("shop", "old", "10.0.0.2"),
		service("pay", "api", "10.0.0.3"))
	kube.PrependReactor("create", "selfsubjectaccessreviews", func(action kubetesting.Action) (bool, runtime.Object,
		error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		of := review.Spec.ResourceAttributes
		review.Status.Allowed = of.Verb == "list" && may(of.Resource, of.Namespace)
		return true, review, nil
	})
	forbid := func(action kubetesting.Action) (bool, runtime.Object, error) {
		if action.GetResource().Resource == "pods" {
			c.pods.Add(1)
		}
		if !may(action.GetResource().Resource, action.GetNamespace()) {
			panic("lists " + action.GetResource().Resource + " in " + action.GetNamespace())
		}
		return false, nil, nil
	}
	kube.PrependReactor("list", "*", forbid)
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range kinds.Configuration() {
		for _, v := range k.Versions {
			lists[k.Resource(v)] = k.Name + "List"
		}
	}
	dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists,
		&unstructured.Unstructured{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
			"metadata": map[string]any{"namespace": "shop", "name": "split"},
			"spec": map[string]any{
				"parentRefs": []any{map[string]any{"group": "", "kind": "Service", "name": "web", "port": int64(80)}},
				"rules": []any{map[string]any{"backendRefs": []any{
					map[string]any{"name": "old", "port": int64(80), "weight": int64(90)},
					map[string]any{"namespace": "pay", "name": "api", "port": int64(80), "weight": int64(10)}}}}}}})
	dynamic.PrependReactor("list", "*", forbid)
	client := &cluster.Client{Interface: kube, Dynamic: dynamic}
	return &viewerConfiguration{all, rights.New(client, namespaces), client}
}

// TestConfigurationIsWhatTheViewerMayList: nothing else is read, and what it does not say is said.
func TestConfigurationIsWhatTheViewerMayList(t *testing.T) {
	in := func(namespace string, without ...string) func(string, string) bool {
		return func(resource, of string) bool {
			return (namespace == "" || of == namespace) && !slices.Contains(without, resource)
		}
	}
	for name, c := range map[string]struct {
		may     func(resource, namespace string) bool
		invalid bool
		routed  bool
		missing string
		err     string
	}{
		"everything":          {may: in(""), routed: true, invalid: true},
		"all but nodes":       {may: in("", "nodes"), routed: true, invalid: true},
		"one namespace":       {may: in("shop"), routed: true},
		"no kind of routes":   {may: in("shop", "httproutes", "grpcroutes"), missing: "httproutes.gateway.networking.k8s.io"},
		"no kind of policies": {may: in("shop", "servers"), routed: true, missing: "servers.policy.linkerd.io"},
		"no Services":         {may: in("shop", "services"), err: `in namespace "shop" on services`},
		"another namespace":   {may: in("pay"), err: `in namespace "shop" on`},
	} {
		t.Run(name, func(t *testing.T) {
			all := newConfigurations(func(context.Context) (model.Config, error) {
				return model.Config{ClusterDomain: "cluster.local", ClusterNetworks: []netip.Prefix{
					netip.MustParsePrefix("10.0.0.0/8")}, DefaultPolicy: mesh.AllUnauthenticated}, nil
			}, namespaces)
			var configured configuredCluster
			var got board.Configuration
			for range 3 { // viewers with the same rights
				var err error
				got, err = configured.viewer(all, c.may).of(t.Context(), "shop")
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("error %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if n := configured.pods.Load(); n != 1 {
				t.Errorf("the pods were listed %d times", n)
			}
			ports := got.Ports("shop", "web")
			if len(ports) != 1 || (len(ports[0].Routes) == 1) != c.routed || (len(got.Routes("shop", "web")) > 0) != c.routed {
				t.Fatalf("ports %+v, routes %v", ports, got.Routes("shop", "web"))
			}
			if c.routed {
				backends := ports[0].Routes[0].Rules[0].Backends
				if len(backends) != 2 || backends[0].Weight != 90 || backends[0].Invalid != "" ||
					(backends[1].Invalid != "") != c.invalid {
					t.Errorf("backends %+v", backends)
				}
			}
			missing := strings.Join(got.(*scope).Missing(), " ")
			if (missing == "") != (c.missing == "") || !strings.Contains(missing, c.missing) {
				t.Errorf("missing %q", missing)
			}
			if other := got.Ports("pay", "api"); (len(other) == 1) != c.may("pods", "pay") {
				t.Errorf("ports of another namespace: %v", other)
			}
			if policy := got.Inbound(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "pay", Name: "x"}}); policy != nil &&
				!c.may("pods", "pay") {
				t.Errorf("policy of another namespace: %v", policy)
			}
		})
	}
}
