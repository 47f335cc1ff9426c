package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/model"
)

// configured returns clients of a cluster with the namespaces shop and other, with a pod each, and objects of the
// mesh's configuration.
func configured(objects ...runtime.Object) (Clients, *dynamicfake.FakeDynamicClient) {
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range kinds.Configuration() {
		for _, version := range k.Versions {
			lists[k.Resource(version)] = k.Name + "List"
		}
	}
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, &corev1.Pod{ObjectMeta: meta("web")},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "api"}})
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)
	return Clients{Kubernetes: client, Dynamic: dyn}, dyn
}

// custom returns an object of the mesh's configuration.
func custom(apiVersion, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec,
		"metadata": map[string]any{"namespace": namespace, "name": name}}}
}

// answer makes a list of a resource fail; "" is every version of it.
func answer(dyn *dynamicfake.FakeDynamicClient, resource, version string, err error) {
	dyn.PrependReactor("list", resource, func(a clienttesting.Action) (bool, runtime.Object, error) {
		return version == "" || a.GetResource().Version == version, nil, err
	})
}

// TestPolicyOfANamespace wants what decides about the pods of one namespace: its own objects, and the authentications
// of every namespace.
func TestPolicyOfANamespace(t *testing.T) {
	const v1beta3, v1alpha1 = "policy.linkerd.io/v1beta3", "policy.linkerd.io/v1alpha1"
	spec := map[string]any{}
	var objects []runtime.Object
	for _, namespace := range []string{"shop", "other"} {
		objects = append(objects, custom(v1beta3, "Server", namespace, "http", spec),
			custom("policy.linkerd.io/v1beta1", "ServerAuthorization", namespace, "old", spec),
			custom(v1alpha1, "AuthorizationPolicy", namespace, "web-only", spec),
			custom(v1alpha1, "MeshTLSAuthentication", namespace, "web", spec),
			custom(v1alpha1, "NetworkAuthentication", namespace, "nodes", spec),
			custom("gateway.networking.k8s.io/v1", "HTTPRoute", namespace, "get", spec),
			custom("linkerd.io/v1alpha2", "ServiceProfile", namespace, "api", spec),
			custom(v1alpha1, "HTTPLocalRateLimitPolicy", namespace, "limit", spec))
	}
	objects = append(objects, custom(v1beta3, "Server", "shop", "broken", map[string]any{"podSelector": int64(5)}))
	c, dyn := configured(objects...)
	// The cluster lacks a kind.
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "grpcroutes"}, "")
	answer(dyn, "grpcroutes", "", missing)
	events, err := ReadPolicy(t.Context(), c, "shop")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", e.Object), "*")
		_, kind, _ = strings.Cut(kind, ".")
		got = append(got, kind+" "+e.Object.GetNamespace()+"/"+e.Object.GetName())
	}
	slices.Sort(got)
	want := []string{"AuthorizationPolicy shop/web-only", "HTTPRoute shop/get", "MeshTLSAuthentication other/web",
		"MeshTLSAuthentication shop/web", "Namespace /shop", "NetworkAuthentication other/nodes",
		"NetworkAuthentication shop/nodes", "Pod shop/web", "Server shop/http", "ServerAuthorization shop/old"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPolicyInAnOlderVersion has a cluster that does not serve the newest version of Server.
func TestPolicyInAnOlderVersion(t *testing.T) {
	c, dyn := configured(custom("policy.linkerd.io/v1beta2", "Server", "shop", "http", map[string]any{}))
	answer(dyn, "servers", "v1beta3", apierrors.NewNotFound(schema.GroupResource{Resource: "servers"}, ""))
	events, err := ReadPolicy(t.Context(), c, "shop")
	if err != nil || !slices.ContainsFunc(events, func(e model.Event) bool { return e.Object.GetName() == "http" }) {
		t.Errorf("read %v, error %v; want the Server", events, err)
	}
}

// TestPolicyThatCannotBeRead wants an error that names what failed: a part of a policy is not a policy.
func TestPolicyThatCannotBeRead(t *testing.T) {
	forbidden := func(resource string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", nil)
	}
	for name, test := range map[string]struct {
		namespace string
		damage    func(Clients, *dynamicfake.FakeDynamicClient)
		want      string
	}{
		"no such namespace": {"shob", func(Clients, *dynamicfake.FakeDynamicClient) {},
			`get namespace: namespaces "shob" not found`},
		"no right to a kind": {"shop", func(_ Clients, dyn *dynamicfake.FakeDynamicClient) {
			answer(dyn, "networkauthentications", "", forbidden("networkauthentications"))
		}, "list networkauthentications.policy.linkerd.io: networkauthentications is forbidden"},
		"no right to pods": {"shop", func(c Clients, _ *dynamicfake.FakeDynamicClient) {
			c.Kubernetes.(*fake.Clientset).PrependReactor("list", "pods",
				func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden("pods") })
		}, "list pods: pods is forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			c, dyn := configured()
			test.damage(c, dyn)
			events, err := ReadPolicy(t.Context(), c, test.namespace)
			if err == nil || !strings.Contains(err.Error(), test.want) || events != nil {
				t.Errorf("read %v, error %v; want nothing and %q", events, err, test.want)
			}
		})
	}
}
