package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/internal/servingcert"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
	vizinstall "github.com/tulle-mesh/tulle/viz/install"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// vizCluster is a healthy cluster with the viz extension, whose metrics-api gives the answer.
func vizCluster(t *testing.T, v vizinstall.Values, answer metrics.Answer) *fakeCluster {
	t.Helper()
	f := healthyCluster(t)
	stream, err := vizinstall.Render(v, vizinstall.Target{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range install.Documents(stream) {
		meta := &metav1.PartialObjectMetadata{}
		if err := yaml.Unmarshal([]byte(doc), meta); err != nil {
			t.Fatal(err)
		}
		f.resources = append(f.resources, meta)
		if meta.APIVersion == "policy.linkerd.io/v1beta3" || meta.APIVersion == "policy.linkerd.io/v1alpha1" {
			continue
		}
		if meta.Kind == "APIService" {
			serveTap(t, f)
			continue
		}
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.objects = append(f.objects, obj)
		if d, ok := obj.(*appsv1.Deployment); ok {
			d.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: 1, UpdatedReplicas: 1}
			f.objects = append(f.objects, injected(t, podOf(d)))
		}
	}
	roots := find[*corev1.ConfigMap](t, f, mesh.TrustRootsConfigMap).DeepCopy()
	roots.Namespace = vizinstall.Namespace
	f.objects = append(f.objects, roots)
	f.ports["metrics-api-0:8085"] = serveAnswer(t, answer)
	for _, pod := range []string{"metrics-api-0", "tap-0", "prometheus-0"} {
		serveMetrics(t, f, pod+":4191", linkMetrics(1, 7, 0))
	}
	return f
}

// serveTap serves what tap serves, and makes the APIService as the API server shows it.
func serveTap(t *testing.T, f *fakeCluster) {
	t.Helper()
	var bundle []byte
	m := servingcert.New(servingcert.Config{
		Client: fake.NewClientset(), Namespace: vizinstall.Namespace, Secret: mesh.TapSecret, Service: mesh.TapName,
		Owner: "test", Announce: func(_ context.Context, authorities []byte) error { bundle = authorities; return nil },
		Failed: func() {}, Serving: func(time.Time) {}, Now: time.Now, Log: zap.NewNop(),
	})
	if err := m.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{GetCertificate: m.Certificate}
	server.StartTLS()
	t.Cleanup(server.Close)
	f.ports["tap-0:8089"] = server.Listener.Addr().String()
	f.untyped = append(f.untyped, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": mesh.TapAPIService},
		"spec": map[string]any{"caBundle": base64.StdEncoding.EncodeToString(bundle),
			"service": map[string]any{"name": mesh.TapName, "namespace": vizinstall.Namespace}},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "True"}}},
	}})
}

// injected is what the injector makes of a running pod.
func injected(t *testing.T, bare *corev1.Pod) *corev1.Pod {
	t.Helper()
	defaults := inject.Defaults()
	defaults.Proxy.Tap.Offered = true
	settings, err := inject.ParseSettings(defaults, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pod, _, err := inject.Apply(bare, settings, inject.Decision{Action: inject.Inject}, bare.Namespace, inject.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: mesh.ProxyContainer, Ready: true}}
	return pod
}

// watchedBy lets the ServiceAccount tap of a namespace watch the pod web-1.
func watchedBy(namespace string) func(*testing.T, *fakeCluster) {
	return func(t *testing.T, f *fakeCluster) {
		t.Helper()
		for i, e := range sidecar.Of(find[*corev1.Pod](t, f, "web-1")).Env {
			if e.Name != mesh.ProxyConfigEnv {
				continue
			}
			var config map[string]any
			if err := json.Unmarshal([]byte(e.Value), &config); err != nil {
				t.Fatal(err)
			}
			config["tapID"] = "spiffe://cluster.local/ns/" + namespace + "/sa/tap"
			data, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			sidecar.Of(find[*corev1.Pod](t, f, "web-1")).Env[i].Value = string(data)
		}
	}
}

// newTLSServer serves a certificate that no APIService names; it returns the address.
func newTLSServer(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// serveAnswer serves what metrics-api serves; it returns the address.
func serveAnswer(t *testing.T, answer metrics.Answer) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// proxies is an answer with numbers of pods, as namespace/name.
func proxies(pods ...string) metrics.Answer {
	answer := metrics.Answer{Samples: [][]metrics.Sample{{}}}
	for _, pod := range pods {
		namespace, name, _ := strings.Cut(pod, "/")
		answer.Samples[0] = append(answer.Samples[0],
			metrics.Sample{Labels: map[string]string{"namespace": namespace, "pod": name}, Value: 1})
	}
	return answer
}

var allProxies = proxies("shop/web-1", "shop/web-2", "tulle-viz/metrics-api-0", "tulle-viz/tap-0",
	"tulle-viz/prometheus-0")

func TestVizCheckGolden(t *testing.T) {
	for name, test := range map[string]struct {
		cluster *fakeCluster
		args    []string
		code    int
	}{
		"viz/check-healthy.txt": {vizCluster(t, vizinstall.Defaults(), allProxies),
			[]string{"viz", "check", "--proxy", "--wait=0s"}, 0},
		"viz/check-absent.txt": {healthyCluster(t), []string{"viz", "check", "--wait=0s"}, 1},
		"viz/check-both.txt": {vizCluster(t, vizinstall.Defaults(), allProxies), []string{"check", "-o", "short",
			"--expected-version=v9", "--wait=0s"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, test.cluster.connect, "", test.args...)
			if r.code != test.code {
				t.Errorf("exit code %d, want %d", r.code, test.code)
			}
			golden(t, name, r)
		})
	}
}

// Each case breaks one thing of a healthy extension and names what check must say.
func TestVizCheckFindsWhatIsWrong(t *testing.T) {
	noPrometheus := vizinstall.Defaults()
	noPrometheus.Prometheus.Enabled = false
	noTap := vizinstall.Defaults()
	noTap.Tap.Enabled = false
	for name, test := range map[string]struct {
		values vizinstall.Values
		answer metrics.Answer
		damage func(*testing.T, *fakeCluster)
		want   string
		code   int
	}{
		"two namespaces": {damage: func(t *testing.T, f *fakeCluster) {
			find[*corev1.Namespace](t, f, "shop").Labels = map[string]string{"linkerd.io/extension": "viz"}
		}, want: "× viz extension Namespace exists\n    several namespaces have the label linkerd.io/extension=viz: " +
			"shop, tulle-viz", code: 1},
		"no values": {damage: func(t *testing.T, f *fakeCluster) {
			find[*corev1.ConfigMap](t, f, "tulle-viz-config").Name = "gone"
		}, want: "× 'tulle-viz-config' config map exists", code: 1},
		"a policy that was deleted": {damage: func(_ *testing.T, f *fakeCluster) {
			f.resources = slices.DeleteFunc(f.resources, func(o *metav1.PartialObjectMetadata) bool {
				return o.Kind == "AuthorizationPolicy" && o.Name == "prometheus"
			})
		}, want: "missing: AuthorizationPolicy/prometheus", code: 1},
		"a deployment without pods": {damage: func(t *testing.T, f *fakeCluster) {
			find[*appsv1.Deployment](t, f, "prometheus").Status = appsv1.DeploymentStatus{
				Conditions: []appsv1.DeploymentCondition{
					{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "violates PodSecurity"}}}
		}, want: "prometheus: violates PodSecurity", code: 1},
		"a pod without a proxy": {damage: func(t *testing.T, f *fakeCluster) {
			pod := find[*corev1.Pod](t, f, "prometheus-0")
			pod.Spec.InitContainers, pod.Status.InitContainerStatuses = nil, nil
		}, want: "× viz extension pods are injected\n    prometheus-0: has no proxy", code: 1},
		"a proxy that is not ready": {damage: func(t *testing.T, f *fakeCluster) {
			find[*corev1.Pod](t, f, "prometheus-0").Status.InitContainerStatuses[0].Ready = false
		}, want: "× viz extension proxies are healthy\n    prometheus-0: proxy is not ready", code: 1},
		"a Prometheus that does not answer": {answer: metrics.Answer{Samples: allProxies.Samples,
			Notes: []string{"the numbers come from 4 proxies"}},
			want: "metrics-api does without it: the numbers come from 4 proxies", code: 1},
		"no Prometheus at all": {values: noPrometheus, answer: metrics.Answer{Samples: allProxies.Samples,
			Notes: []string{"the numbers come from 4 proxies"}}, want: "√ viz extension self-check"},
		"a metrics-api that does not answer": {damage: func(_ *testing.T, f *fakeCluster) {
			delete(f.ports, "metrics-api-0:8085")
		}, want: "× viz extension self-check\n    ask metrics-api", code: 1},
		"numbers of nobody": {answer: proxies(), want: "metrics-api answers, and has numbers of no proxy yet", code: 1},
		"a proxy without numbers": {answer: proxies("shop/web-1", "tulle-viz/metrics-api-0", "tulle-viz/tap-0",
			"tulle-viz/prometheus-0"), want: "no metrics of: shop/web-2", code: 1},
		"a tap that the API server does not reach": {damage: func(_ *testing.T, f *fakeCluster) {
			f.untyped[len(f.untyped)-1].Object["status"] = map[string]any{"conditions": []any{map[string]any{
				"type": "Available", "status": "False", "reason": "MissingEndpoints", "message": "no addresses"}}}
		}, want: "× tap API service is available\n    MissingEndpoints: no addresses", code: 1},
		"a tap whose authority nobody announced": {damage: func(_ *testing.T, f *fakeCluster) {
			f.untyped[len(f.untyped)-1].Object["spec"] = map[string]any{}
		}, want: "× tap API server has valid cert\n    APIService v1alpha1.tap.linkerd.io has no caBundle yet", code: 1},
		"a tap whose certificate nobody can renew": {damage: func(_ *testing.T, f *fakeCluster) {
			f.objects = append(f.objects, &corev1.Secret{Immutable: new(true),
				ObjectMeta: metav1.ObjectMeta{Namespace: vizinstall.Namespace, Name: mesh.TapSecret}})
		}, want: "kubectl delete secret -n tulle-viz tap-tls", code: 1},
		"a tap with a certificate of somebody else": {damage: func(t *testing.T, f *fakeCluster) {
			f.ports["tap-0:8089"] = newTLSServer(t)
		}, want: "× tap API server has valid cert\n    tap-0: tls: failed to verify certificate", code: 1},
		"no role for users of tap": {damage: func(_ *testing.T, f *fakeCluster) {
			f.resources = slices.DeleteFunc(f.resources, func(o *metav1.PartialObjectMetadata) bool {
				return o.Name == "linkerd-linkerd-viz-tap-admin"
			})
		}, want: "missing: ClusterRole/linkerd-linkerd-viz-tap-admin", code: 1},
		"no tap": {values: noTap, want: "√ viz extension self-check"},
		"pods from before tap": {want: "‼ data plane proxies can be tapped\n    shop: 2 pods were injected before tap was " +
			"turned on; kubectl -n shop rollout restart deploy,sts,ds"},
		"a pod that the tap of a former extension may watch": {damage: watchedBy("former"),
			want: "‼ data plane proxies accept tap from the installed extension only\n    shop: until a restart " +
				"spiffe://cluster.local/ns/former/sa/tap may watch web-1; kubectl -n shop rollout restart deploy,sts,ds"},
		"a pod that accepts tap after the extension was removed": {damage: func(t *testing.T, f *fakeCluster) {
			watchedBy(vizinstall.Namespace)(t, f)
			f.untyped = nil
			find[*corev1.Namespace](t, f, vizinstall.Namespace).Labels = nil
		}, want: "    shop: until a restart spiffe://cluster.local/ns/tulle-viz/sa/tap may watch web-1; ", code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if test.values.LogLevel == "" {
				test.values = vizinstall.Defaults()
			}
			if test.answer.Samples == nil {
				test.answer = allProxies
			}
			f := vizCluster(t, test.values, test.answer)
			if test.damage != nil {
				test.damage(t, f)
			}
			r := runCLI(t, f.connect, "", "viz", "check", "--proxy", "--wait=0s")
			if r.code != test.code || !strings.Contains(r.out, test.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", r.code, test.code, test.want, r.out, r.err)
			}
		})
	}
}

func TestVizInstall(t *testing.T) {
	f := healthyCluster(t)
	r := runCLI(t, f.connect, "", "viz", "install", "--set", "prometheus.enabled=false")
	if r.code != 0 || strings.Contains(r.out, "kind: Deployment\nmetadata:\n  name: prometheus") || r.err != "" {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	if again := runCLI(t, f.connect, "", "viz", "install", "--set", "prometheus.enabled=false"); again.out != r.out {
		t.Error("two runs print different bytes")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte("prometheus: {enabled: false}\ntapInjector: {replicas: 2}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	byFile := runCLI(t, f.connect, "", "viz", "install", "-f", file)
	if byFile.out != r.out || !strings.Contains(byFile.err, "warning: tapInjector") {
		t.Errorf("a values file prints other manifests, or stderr %q lacks a warning about tap", byFile.err)
	}
	if r := runCLI(t, emptyCluster().connect, "", "viz", "install"); r.code != 1 || !strings.Contains(r.err,
		"namespace tulle has no control plane") {
		t.Errorf("without a control plane: exit code %d, stderr %q", r.code, r.err)
	}
	if r := runCLI(t, emptyCluster().connect, "", "viz", "install", "--ignore-cluster", "-o", "json"); r.code != 0 ||
		!strings.HasPrefix(r.out, `{"apiVersion":"v1","kind":"Namespace"`) {
		t.Errorf("--ignore-cluster -o json: exit code %d, stderr %q", r.code, r.err)
	}
}

func TestVizInstallOverAnother(t *testing.T) {
	v := vizinstall.Defaults()
	v.LogLevel = "debug"
	f := vizCluster(t, v, allProxies)
	r := runCLI(t, f.connect, "", "viz", "install")
	if r.code != 0 || !strings.Contains(r.err, "changes settings that this command does not name: "+
		"defaultLogLevel (debug, now info)") {
		t.Errorf("exit code %d, stderr %q; want a warning about the log level", r.code, r.err)
	}
	r = runCLI(t, f.connect, "", "viz", "install", "--reuse-values")
	if r.code != 0 || r.err != "" || !strings.Contains(r.out, "--log-level=debug") {
		t.Errorf("--reuse-values: exit code %d, stderr %q; want the log level", r.code, r.err)
	}
}

func TestVizUninstallAndPrune(t *testing.T) {
	f := vizCluster(t, vizinstall.Defaults(), allProxies)
	r := runCLI(t, f.connect, "", "viz", "uninstall")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	golden(t, "viz/uninstall.txt", r)
	if r := runCLI(t, f.connect, "", "viz", "prune"); r.code != 0 || r.out != "" || r.err != "Nothing to prune.\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q; want nothing to prune", r.code, r.out, r.err)
	}
	without := vizinstall.Defaults()
	without.Prometheus.Enabled = false
	other := vizCluster(t, without, allProxies)
	f.objects = slices.DeleteFunc(f.objects, func(o runtime.Object) bool {
		m, ok := o.(*corev1.ConfigMap)
		return ok && m.Name == "tulle-viz-config"
	})
	f.objects = append(f.objects, find[*corev1.ConfigMap](t, other, "tulle-viz-config"))
	golden(t, "viz/prune.txt", runCLI(t, f.connect, "", "viz", "prune"))
	for _, verb := range []string{"uninstall", "prune"} {
		if r := runCLI(t, healthyCluster(t).connect, "", "viz", verb); r.code != 1 ||
			!strings.Contains(r.err, "not installed") {
			t.Errorf("%s without the extension: exit code %d, stderr %q", verb, r.code, r.err)
		}
	}
}

func TestVizAllowScrapes(t *testing.T) {
	golden(t, "viz/allow-scrapes.txt", runCLI(t, noCluster, "", "viz", "allow-scrapes", "-n", "shop"))
	if r := runCLI(t, noCluster, "", "viz", "allow-scrapes"); r.code != 1 || !strings.Contains(r.err, "give -n") {
		t.Errorf("exit code %d, stderr %q; want a question for the namespace", r.code, r.err)
	}
}

// TestVizInstallWarnsOfTheControlPlane installs over a control plane whose settings tap does not get on with.
func TestVizInstallWarnsOfTheControlPlane(t *testing.T) {
	f := healthyCluster(t)
	config := find[*corev1.ConfigMap](t, f, "tulle-config")
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(config.Data["install"]), &tree); err != nil {
		t.Fatal(err)
	}
	tree["identityTrustDomain"] = "mesh.example"
	tree["proxy"].(map[string]any)["tap"].(map[string]any)["enabled"] = false
	data, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	config.Data["install"] = string(data)
	r := runCLI(t, f.connect, "", "viz", "install")
	for _, want := range []string{"proxy.tap.enabled of the control plane is false",
		"identityTrustDomain is cluster.local, and mesh.example in the control plane"} {
		if r.code != 0 || !strings.Contains(r.err, want) {
			t.Errorf("exit code %d, stderr %q; want a warning with %q", r.code, r.err, want)
		}
	}
	r = runCLI(t, f.connect, "", "viz", "install", "--set", "tap.enabled=false")
	if r.code != 0 || r.err != "" || strings.Contains(r.out, "kind: APIService") {
		t.Errorf("without tap: exit code %d, stderr %q; want no warning and no APIService", r.code, r.err)
	}
}
