package servingcert

import (
	"encoding/base64"
	"testing"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
)

const tapService = "v1alpha1.tap.linkerd.io"

// apiService is the object as an installation makes it, with the spec's further fields.
func apiService(spec map[string]any) *dynamicfake.FakeDynamicClient {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": tapService}, "spec": spec,
	}}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{APIServices: "APIServiceList"}, object)
}

// TestAPIServiceNamesTheAuthorities wants the APIService to trust what is served, and to be written only once.
func TestAPIServiceNamesTheAuthorities(t *testing.T) {
	for name, spec := range map[string]map[string]any{
		"as installed":         {"group": "tap.linkerd.io"},
		"other authorities":    {"caBundle": base64.StdEncoding.EncodeToString([]byte("old"))},
		"verification was off": {"insecureSkipTLSVerify": true},
	} {
		t.Run(name, func(t *testing.T) {
			client, dyn := fake.NewClientset(), apiService(spec)
			m := New(Config{
				Client: client, Namespace: "tulle-viz", Secret: "tap-tls", Service: "tap", Owner: "tap",
				Announce: APIService(dyn, tapService, "tap"), Failed: func() {}, Serving: func(time.Time) {},
				Now: time.Now, Log: zap.NewNop(),
			})
			if _, err := m.Certificate(nil); err == nil {
				t.Error("a certificate is served before its authority is announced")
			}
			if err := m.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			secret, err := client.CoreV1().Secrets("tulle-viz").Get(t.Context(), "tap-tls", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			object, err := dyn.Resource(APIServices).Get(t.Context(), tapService, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedString(object.Object, "spec", "caBundle")
			if want := base64.StdEncoding.EncodeToString(secret.Data[AuthorityCerts]); got != want {
				t.Errorf("the APIService trusts %q, want %q", got, want)
			}
			if _, unverified, _ := unstructured.NestedBool(object.Object, "spec", "insecureSkipTLSVerify"); unverified {
				t.Error("verification is still turned off")
			}
			if cert, err := m.Certificate(nil); err != nil || cert.Leaf.VerifyHostname("tap.tulle-viz.svc") != nil {
				t.Errorf("certificate %v, error %v: want one for the Service", cert, err)
			}
			dyn.ClearActions()
			if err := m.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, a := range dyn.Actions() {
				if a.GetVerb() != "get" {
					t.Errorf("%s where nothing is due", a.GetVerb())
				}
			}
		})
	}
}
