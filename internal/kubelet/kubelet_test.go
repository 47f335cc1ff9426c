package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestRequests(t *testing.T) {
	var spec corev1.PodSpec
	if err := yaml.UnmarshalStrict([]byte(`
initContainers:
- {name: sidecar, restartPolicy: Always, readinessProbe: {httpGet: {port: 7000}}, lifecycle: {preStop: {httpGet: {port: 7001, path: /bye}}}}
- {name: once, readinessProbe: {httpGet: {port: 7002}}}
- {name: proxy, restartPolicy: Always, readinessProbe: {httpGet: {port: 4191, path: /ready}}}
containers:
- name: app
  ports: [{name: web, containerPort: 8080}]
  startupProbe: {httpGet: {port: 8443, path: /start, scheme: HTTPS}}
  livenessProbe: {httpGet: {port: web, path: "live?full=1#part"}}
  readinessProbe: {grpc: {port: 9090, service: cart}}
  lifecycle: {postStart: {httpGet: {port: web, path: /begin, scheme: HTTP}}, preStop: {exec: {command: [a]}}}
- name: other
  startupProbe: {tcpSocket: {port: 1}}
  livenessProbe: {httpGet: {port: 8080, host: example.com, path: /elsewhere}}
  readinessProbe: {httpGet: {port: missing, path: /}}
- {name: proxy, readinessProbe: {httpGet: {port: 4191, path: /ready}}}
`), &spec); err != nil {
		t.Fatal(err)
	}
	want := []Request{
		{"sidecar", "readinessProbe", 7000, "/", false}, {"sidecar", "preStop", 7001, "/bye", false},
		{"app", "startupProbe", 8443, "/start", true}, {"app", "livenessProbe", 8080, "/live?full=1", false},
		{"app", "readinessProbe", 9090, GRPCTarget, false}, {"app", "postStart", 8080, "/begin", false},
	}
	if diff := cmp.Diff(want, Requests(&spec, "proxy")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTarget has paths as the kubelet sends them: in a URL of the pod, by Go's client.
func TestTarget(t *testing.T) {
	for path, want := range map[string]string{
		"": "/", "/": "/", "/healthz": "/healthz", "healthz": "/healthz", "/a b": "/a%20b", "/a%20b": "/a%20b",
		"/a%2fb": "/a%2fb", "/?": "/?",
		"/a?b=c&d": "/a?b=c&d", "?b": "/?b", "/a#b": "/a", "/\u00e9": "/%C3%A9", "/%zz?a": "/%25zz%3Fa", "http://other/x?y": "/x?y", "//a/b": "/b",
	} {
		if got := target(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}
