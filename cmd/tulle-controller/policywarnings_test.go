package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/policywarning"
)

// allowed returns a series of requests that policy allowed at deploy/web.
func allowed(client string, count int) string {
	return fmt.Sprintf(`inbound_http_authz_allow_total{namespace="shop",deployment="web",pod="web-1",target_port="8080",`+
		`client_id="%s",route_kind="default",route_name="default",authz_kind="default",authz_name="all-unauthenticated"} %d`+
		"\n", client, count)
}

// slow never answers.
type slow struct{}

func (slow) Ask(ctx context.Context, _ time.Duration, _ []metrics.Query) (metrics.Answer, error) {
	<-ctx.Done()
	return metrics.Answer{}, ctx.Err()
}

type broken struct{}

func (broken) Ask(context.Context, time.Duration, []metrics.Query) (metrics.Answer, error) {
	return metrics.Answer{}, errors.New("boom")
}

func numbers(t *testing.T, text string) metrics.Source {
	t.Helper()
	source, err := metricstest.New(text)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// closing is a Server that denies everybody; the pods of deploy/web are its.
const closing = `{"apiVersion":"policy.linkerd.io/v1beta3","kind":"Server","metadata":{"name":"web","namespace":"shop"},
"spec":{"podSelector":{"matchLabels":{"app":"web"}},"port":8080,"accessPolicy":"deny"}}`

// policyOf is the AuthorizationPolicy that allows everybody at that Server.
const policyOf = `{"apiVersion":"policy.linkerd.io/v1alpha1","kind":"AuthorizationPolicy",
"metadata":{"name":"web","namespace":"shop"},"spec":{"targetRef":{"group":"policy.linkerd.io","kind":"Server","name":"web"},
"requiredAuthenticationRefs":[{"group":"policy.linkerd.io","kind":"NetworkAuthentication","name":"all"}]}}`

// everybody is the NetworkAuthentication that it names.
const everybody = `{"apiVersion":"policy.linkerd.io/v1alpha1","kind":"NetworkAuthentication",
"metadata":{"name":"all","namespace":"shop"},"spec":{"networks":[{"cidr":"0.0.0.0/0"},{"cidr":"::/0"}]}}`

// policyCluster returns a cluster with one pod, in a namespace that asks for warnings if asks is "true", and with
// policies.
func policyCluster(t *testing.T, asks string, policies ...string) policyReader {
	t.Helper()
	web := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{"app": "web",
			mesh.ControlPlaneNSLabel: "tulle", podowner.LabelPrefix + "deployment": "web"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d8f",
				Controller: new(true)}}},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}},
			Containers: []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}},
	}
	client := fake.NewClientset(web,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop",
			Annotations: map[string]string{mesh.PolicyWarnAnnotation: asks}}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: mesh.InstallConfigMap}})
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range kinds.Configuration() {
		for _, version := range k.Versions {
			lists[k.Resource(version)] = k.Name + "List"
		}
	}
	var objects []runtime.Object
	for _, text := range policies {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)
	return policyReader{kube.Clients{Kubernetes: client, Dynamic: dyn}, "tulle"}
}

func review(t *testing.T, operation admissionv1.Operation, object string) *bytes.Reader {
	t.Helper()
	request := &admissionv1.AdmissionRequest{UID: "1", Namespace: "shop", Name: "web", Operation: operation}
	if operation == admissionv1.Delete {
		request.OldObject.Raw = []byte(object)
	} else {
		request.Object.Raw = []byte(object)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{Request: request,
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}})
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(body)
}

// counted returns the result that reviews were counted as.
func counted(t *testing.T, registry *prometheus.Registry) (result string) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if m.GetCounter().GetValue() > 0 {
				result += m.GetLabel()[0].GetValue()
			}
		}
	}
	return result
}

// TestPolicyWarnings goes from a review of the API server to the warnings of its answer.
func TestPolicyWarnings(t *testing.T) {
	const cart = "spiffe://cluster.local/ns/shop/sa/cart"
	many, long := "", strings.Repeat("a", 63)
	for i := range 7 {
		many += allowed(fmt.Sprintf("spiffe://cluster.local/ns/shop/sa/c%d", i), 3600)
	}
	cases := map[string]struct {
		asks      string
		operation admissionv1.Operation
		object    string
		source    metrics.Source
		result    string
		want      []string
		policies  []string
	}{
		"a caller is cut off": {"true", admissionv1.Create, closing, numbers(t, allowed(cart, 7200)), "warned",
			[]string{cart + " would be denied at deploy/web port 8080 (2 requests a second)"}, nil},
		"an update counts too": {"true", admissionv1.Update, closing, numbers(t, allowed("", 3600)), "warned",
			[]string{"clients without identity would be denied at deploy/web port 8080 (1 request a second)"}, nil},
		"many callers": {"true", admissionv1.Create, closing, numbers(t, many), "warned", []string{
			"spiffe://cluster.local/ns/shop/sa/c0 would be denied at deploy/web port 8080 (1 request a second)",
			"spiffe://cluster.local/ns/shop/sa/c1 would be denied at deploy/web port 8080 (1 request a second)",
			"spiffe://cluster.local/ns/shop/sa/c2 would be denied at deploy/web port 8080 (1 request a second)",
			"spiffe://cluster.local/ns/shop/sa/c3 would be denied at deploy/web port 8080 (1 request a second)",
			"… and 3 more: tulle policy what-if -f FILE"}, nil},
		"nobody is cut off": {"true", admissionv1.Create, strings.Replace(closing, `"deny"`, `"all-unauthenticated"`, 1),
			numbers(t, allowed(cart, 1)), "quiet", nil, nil},
		"the namespace does not ask": {"false", admissionv1.Create, closing, numbers(t, allowed(cart, 7200)), "not_asked",
			nil, nil},
		"what there is not cannot be deleted": {"true", admissionv1.Delete, closing, numbers(t, allowed(cart, 7200)), "quiet",
			nil, nil},
		"a policy is deleted": {"true", admissionv1.Delete, policyOf, numbers(t, allowed(cart, 7200)), "warned",
			[]string{cart + " would be denied at deploy/web port 8080 (2 requests a second)"},
			[]string{closing, policyOf, everybody}},
		"no numbers":    {"true", admissionv1.Create, closing, numbers(t, ""), "no_numbers", nil, nil},
		"no Prometheus": {"true", admissionv1.Create, closing, nil, "no_numbers", nil, nil},
		"slow numbers":  {"true", admissionv1.Create, closing, slow{}, "late", nil, nil},
		"no answer":     {"true", admissionv1.Create, closing, broken{}, "failed", nil, nil},
		"not an object": {"true", admissionv1.Create, `["a"]`, numbers(t, allowed(cart, 7200)), "failed", nil, nil},
		"a hostile identity": {"true", admissionv1.Create, closing,
			numbers(t, allowed("spiffe://cluster.local/ns/shop/sa/\x1b[31m\u202eevil", 7200)), "", nil, nil},
		"a long identity": {"true", admissionv1.Create, closing,
			numbers(t, allowed("spiffe://cluster.local/ns/"+long+"/sa/"+long, 7200)), "warned", nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			registry, cluster := prometheus.NewRegistry(), policyCluster(t, c.asks, c.policies...)
			server := policywarning.New(policywarning.Config{OptedIn: cluster.asks, Read: cluster.read, Source: c.source,
				Now: time.Now, Log: zap.NewNop(), Registry: registry})
			w := httptest.NewRecorder()
			server.ServeHTTP(w, httptest.NewRequest(http.MethodPost, policywarning.Path, review(t, c.operation, c.object)))
			var out admissionv1.AdmissionReview
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil {
				t.Fatalf("error %v, answer %d %s", err, w.Code, w.Body)
			}
			if !out.Response.Allowed || out.Response.UID != "1" || out.APIVersion != "admission.k8s.io/v1" {
				t.Errorf("got %+v, want the review to be allowed", out.Response)
			}
			for _, warning := range out.Response.Warnings {
				if len(warning) >= 256 || strings.ContainsFunc(warning, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("warning %q is not for a terminal", warning)
				}
			}
			if c.want != nil || c.result != "warned" && c.result != "" {
				if diff := cmp.Diff(c.want, out.Response.Warnings); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			}
			if c.result == "" {
				return
			}
			if got := counted(t, registry); got != c.result {
				t.Errorf("counted as %s, want %s", got, c.result)
			}
		})
	}
}
