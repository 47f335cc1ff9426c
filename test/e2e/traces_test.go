package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tulle-mesh/tulle/test/collector"
)

// tracesNS holds a chain of calls whose proxies make spans, and their collector.
const tracesNS = "traces"

// The namespace names a meshed collector, which takes OTLP over gRPC only from who has an identity. The proxy of back
// speaks OTLP over HTTP, in plaintext. Only the client's proxy starts traces.
const tracesNamespace = `
apiVersion: v1
kind: Namespace
metadata:
  name: traces
  annotations:
    linkerd.io/inject: enabled
    config.linkerd.io/trace-collector: collector.traces:4317
    config.linkerd.io/trace-collector-service-account: collector
    config.tulle.dev/trace-sampling-ratio: "0"
---
apiVersion: v1
kind: Service
metadata: {name: collector, namespace: traces}
spec:
  selector: {app: collector}
  ports: [{name: grpc, port: 4317}, {name: http, port: 4318}, {name: spans, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: traces}
spec: {selector: {app: front}, ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: back, namespace: traces}
spec: {selector: {app: back}, ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: traces}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders, namespace: traces}
spec:
  parentRefs: [{group: "", kind: Service, name: orders, port: 80}]
  rules: [{backendRefs: [{name: back, port: 80}]}]
`

// traced is a Deployment of tracesNS and its ServiceAccount.
func traced(name, annotations, image, args, ready string) string {
	return fmt.Sprintf(`---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: traces}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: traces}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s}
      annotations: {mesh-version: "%[2]s", %[3]s}
    spec:
      serviceAccountName: %[1]s
      terminationGracePeriodSeconds: 2
      containers:
      - name: app
        image: %[4]s
        imagePullPolicy: IfNotPresent
        args: [%[5]s]
        resources: {requests: {cpu: 20m}}
        readinessProbe: {httpGet: {path: %[6]q, port: 8080}, periodSeconds: 1}
`, name, env.version, annotations, image, args, ready)
}

// tracedManifest is all of tracesNS.
func tracedManifest(collectorImage string) string {
	const ready = "/status?code=200"
	return tracesNamespace +
		traced("collector", "config.tulle.dev/tracing: disabled, "+
			`config.linkerd.io/proxy-require-identity-inbound-ports: "4317"`, collectorImage, "", "/spans") +
		traced("client", `config.tulle.dev/trace-sampling-ratio: "1"`, env.appImage, "serve", ready) +
		traced("front", "", env.appImage, `serve, "-next=http://orders.traces/orders/42"`, ready) +
		traced("back", `config.linkerd.io/trace-collector: "http://collector.traces:4318"`, env.appImage, "serve", ready)
}

var (
	tracedClient = client{tracesNS, "client"}
	frontURL     = "http://front." + tracesNS + "/work"
)

// TestTraces has proxies send spans of a chain of two calls to the OpenTelemetry collector's receiver.
func TestTraces(t *testing.T) {
	image := os.Getenv("E2E_COLLECTOR_IMAGE")
	if image == "" {
		t.Fatal("E2E_COLLECTOR_IMAGE is not set: run `make e2e`, which builds the image")
	}
	apply(t, tracedManifest(image))
	mustKubectl(t, "-n", tracesNS, "rollout", "status", "deployment", "--timeout=180s")
	awaitCondition(t, 10*time.Second, tracesNS, "orders", "ResolvedRefs", "True")
	eventually(t, 20*time.Second, func() error { // without a span: the caller's proxy makes none
		a := meshed.http(t, "-url", frontURL)
		return nilIf(a.Status == 200, "got %+v", a)
	})
	t.Run("one trace over two hops", testTraceOverHops)
	t.Run("the collector is away", testCollectorAway)
}

// receivedSpans returns what the collector got.
func receivedSpans() ([]collector.Span, error) {
	text, err := kubectl("get", "--raw", "/api/v1/namespaces/"+tracesNS+"/services/collector:spans/proxy/spans")
	if err != nil {
		return nil, err
	}
	traces, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(text)
	if err != nil {
		return nil, err
	}
	return collector.Spans(traces), nil
}

// caller is the trace that a test's own request belongs to.
type caller struct{ trace, span string }

func newCaller() caller {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return caller{hex.EncodeToString(b[:16]), hex.EncodeToString(b[16:])}
}

func (c caller) traceparent(flags string) string {
	return "traceparent: 00-" + c.trace + "-" + c.span + "-" + flags
}

// testTraceOverHops sends requests that are not sampled before those that are. A proxy sends spans in their order, so
// theirs would come first.
func testTraceOverHops(t *testing.T) {
	send := func(from client, args ...string) {
		t.Helper()
		if a := from.http(t, append([]string{"-url", frontURL + "?token=secret"}, args...)...); a.Status != 200 {
			t.Fatalf("got %+v", a)
		}
	}
	for range 3 {
		send(meshed) // nobody starts a trace
		send(tracedClient, "-header", newCaller().traceparent("00"))
	}
	given := newCaller()
	send(tracedClient, "-header", given.traceparent("01"))
	send(tracedClient)

	var all []collector.Span
	byTrace := map[string][]collector.Span{}
	eventually(t, 30*time.Second, func() error {
		var err error
		all, err = receivedSpans()
		clear(byTrace)
		for _, s := range all {
			byTrace[s.TraceID().String()] = append(byTrace[s.TraceID().String()], s)
		}
		return errors.Join(err, nilIf(len(all) >= 8, "got %d spans, want 4 of each of two traces", len(all)))
	})
	if len(all) != 8 || len(byTrace) != 2 || len(byTrace[given.trace]) != 4 {
		for _, s := range all {
			t.Logf("%s %s %s %v", s.TraceID(), s.Kind(), s.Name(), s.Attributes)
		}
		t.Fatalf("got %d spans of %d traces, %d of the caller's; want 8 of 2, 4 of the caller's", len(all), len(byTrace),
			len(byTrace[given.trace]))
	}
	for id, spans := range byTrace {
		parent := "" // of a trace that the proxy started
		if id == given.trace {
			parent = given.span
		}
		wantHops(t, spans, parent)
	}
}

// wantHops compares the four spans of a request: each is the parent of the next.
func wantHops(t *testing.T, spans []collector.Span, parent string) {
	t.Helper()
	id := func(name string) string { return "spiffe://cluster.local/ns/traces/sa/" + name }
	const byDefault = "default all-unauthenticated"
	for _, hop := range []struct {
		service string
		kind    ptrace.SpanKind
		want    map[string]any
	}{
		{"client", ptrace.SpanKindClient, map[string]any{
			"url.path": "/work", "tulle.client.id": id("client"), "tulle.server.id": id("front"),
			"tulle.authority": "front.traces.svc.cluster.local:80", "tulle.route": "default http",
			"tulle.backend": "Service traces/front:80",
		}},
		{"front", ptrace.SpanKindServer, map[string]any{
			"url.path": "/work", "tulle.client.id": id("client"), "tulle.server.id": id("front"),
			"tulle.server": byDefault, "tulle.authorization": byDefault,
		}},
		{"front", ptrace.SpanKindClient, map[string]any{
			"url.path": "/orders/42", "tulle.client.id": id("front"), "tulle.server.id": id("back"),
			"tulle.authority": "orders.traces.svc.cluster.local:80", "tulle.route": "HTTPRoute traces/orders",
			"tulle.backend": "Service traces/back:80",
		}},
		{"back", ptrace.SpanKindServer, map[string]any{
			"url.path": "/orders/42", "tulle.client.id": id("front"), "tulle.server.id": id("back"),
			"tulle.server": byDefault, "tulle.authorization": byDefault,
		}},
	} {
		i := slices.IndexFunc(spans, func(s collector.Span) bool {
			return s.Kind() == hop.kind && s.Attributes["resource.service.name"] == hop.service
		})
		if i < 0 {
			t.Errorf("%s has no %s span", hop.service, hop.kind)
			return
		}
		s := spans[i]
		if got := s.ParentSpanID().String(); got != parent {
			t.Errorf("parent of the %s span of %s: got %q, want %q", hop.kind, hop.service, got, parent)
		}
		parent = s.SpanID().String()
		hop.want["http.response.status_code"] = int64(200)
		hop.want["resource.k8s.deployment.name"] = hop.service
		hop.want["resource.k8s.namespace.name"] = tracesNS
		got := map[string]any{}
		for k := range hop.want {
			got[k] = s.Attributes[k]
		}
		if diff := cmp.Diff(hop.want, got); diff != "" {
			t.Errorf("%s span of %s (-want +got)\n%s", hop.kind, hop.service, diff)
		}
		if pod, _ := s.Attributes["resource.k8s.pod.name"].(string); !strings.HasPrefix(pod, hop.service+"-") {
			t.Errorf("%s span of %s is of the pod %q", hop.kind, hop.service, pod)
		}
		if text := fmt.Sprint(s.Attributes); strings.Contains(text, "secret") {
			t.Errorf("the query shows: %s", text)
		}
	}
}

// testCollectorAway takes the collector away: requests go on, and their spans wait.
func testCollectorAway(t *testing.T) {
	const n = 100
	mustKubectl(t, "-n", tracesNS, "scale", "deployment/collector", "--replicas=0")
	mustKubectl(t, "-n", tracesNS, "wait", "--for=delete", "pod", "-l", "app=collector", "--timeout=60s")
	given := newCaller()
	send := func() {
		t.Helper()
		decode[load](t, tracedClient.mustApp(t, "load", "-url", frontURL, "-count", fmt.Sprint(n), "-rate", "100",
			"-header", given.traceparent("01"))).mustBeWhole(t, n)
	}
	send()
	services := []string{"client", "front", "back"}
	for _, service := range services {
		eventually(t, 30*time.Second, func() error {
			failures := client{tracesNS, service}.metric(t, "tulle_traces_export_failures_total")
			return nilIf(failures > 0, "the proxy of %s has not missed the collector", service)
		})
	}
	send()
	mustKubectl(t, "-n", tracesNS, "scale", "deployment/collector", "--replicas=1")
	eventually(t, time.Minute, func() error {
		all, err := receivedSpans()
		got := map[string]int{}
		for _, s := range all {
			if s.TraceID().String() == given.trace {
				got[fmt.Sprint(s.Attributes["resource.service.name"])]++
			}
		}
		want := map[string]int{"client": 2 * n, "front": 4 * n, "back": 2 * n}
		return errors.Join(err, nilIf(cmp.Equal(got, want), "got spans %v, want %v", got, want))
	})
	for _, service := range services {
		if dropped := (client{tracesNS, service}).metric(t, "tulle_traces_spans_dropped_total"); dropped > 0 {
			t.Errorf("the proxy of %s dropped %v spans", service, dropped)
		}
	}
}
