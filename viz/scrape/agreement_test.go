package scrape_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/internal/prometheustest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/prometheus"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// agreementWindow is long enough that a loaded machine's delays are far below a hundredth of it.
const agreementWindow = 15 * time.Second

// agreementQueries are of the kinds that the viz commands ask.
var agreementQueries = []metrics.Query{
	{Metric: "request_total", By: []string{"deployment"}, Match: []metrics.Match{metrics.Is("direction", "inbound")}},
	{Metric: "request_total", By: []string{"namespace", "pod", "direction"}},
	{Metric: "request_total", Match: []metrics.Match{metrics.Not("deployment", "cart")}},
	{Metric: "request_total", Match: []metrics.Match{metrics.Is("namespace", "none")}},
	{Metric: "response_latency_ms_bucket", By: []string{"le", "k8s_job"}},
	{Metric: "response_latency_ms_sum", By: []string{"control_plane_ns"}},
	{Metric: "idle_total", By: []string{"pod", "exported_pod", "job"}},
	{Metric: "tcp_open_connections", By: []string{"deployment", "statefulset"}, Now: true},
}

// TestAgreesWithPrometheus lets a Prometheus (PROMETHEUS, or in the PATH) scrape two proxies under steady traffic,
// reads them through a scrape too, and compares the answers to the same queries within 2 %.
func TestAgreesWithPrometheus(t *testing.T) {
	pods := []*corev1.Pod{proxied("web-1", "web", 40), proxied("cart-1", "cart", 900)}
	pods[1].Labels["linkerd.io/proxy-job"] = "nightly"
	addresses := map[string]string{}
	begin := time.Now()
	for i, pod := range pods {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, exposition(100*float64(i+1), time.Since(begin)))
		}))
		t.Cleanup(server.Close)
		addresses[pod.Name] = server.Listener.Addr().String()
	}
	reference, err := prometheus.New(prometheus.Config{URL: startPrometheus(t, pods, addresses)})
	if err != nil {
		t.Fatal(err)
	}
	await(t, reference)
	direct := scrape.New(scrape.Config{
		Pods: func(context.Context, string) ([]*corev1.Pod, error) { return pods, nil },
		Open: func(ctx context.Context, pod *corev1.Pod, _ int) (io.ReadCloser, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addresses[pod.Name], nil)
			if err != nil {
				return nil, err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return nil, err
			}
			return resp.Body, nil
		},
	})
	var differences []string
	for range 3 { // the machine may be busy with something else
		got, err := direct.Ask(t.Context(), agreementWindow, agreementQueries)
		if err != nil {
			t.Fatal(err)
		}
		want, err := reference.Ask(t.Context(), agreementWindow, agreementQueries)
		if err != nil {
			t.Fatal(err)
		}
		if differences = compare(want, got); len(differences) == 0 {
			testCoverage(t, reference)
			return
		}
	}
	t.Errorf("the answers differ:\n%s", strings.Join(differences, "\n"))
}

// testCoverage asks a Prometheus that has just started for more than it has.
func testCoverage(t *testing.T, reference *prometheus.Source) {
	t.Helper()
	answer, err := reference.Ask(t.Context(), 24*time.Hour, agreementQueries[:1])
	if err != nil {
		t.Fatal(err)
	}
	const step = 10 * time.Second // it looks at 24 hours in such steps
	if answer.Window < agreementWindow-step || answer.Window >= time.Hour || len(answer.Notes) != 1 ||
		!strings.Contains(answer.Notes[0], " of 1d: earlier requests are missing") {
		t.Errorf("got window %v and notes %q", answer.Window, answer.Notes)
	}
}

func proxied(name, deployment string, uid int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{
			"linkerd.io/proxy-deployment": deployment, mesh.ControlPlaneNSLabel: "tulle", mesh.WorkloadNSLabel: "shop"}},
		Spec:   corev1.PodSpec{InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.0.%d", uid%250)},
	}
}

// exposition is what a proxy writes that has taken rate requests a second for some time. The counters begin high: only
// their increase counts.
func exposition(rate float64, since time.Duration) string {
	n := func(share float64) int { return 1_000_000 + int(share*rate*since.Seconds()) }
	return fmt.Sprintf(`# HELP request_total Requests.
# TYPE request_total counter
request_total{direction="inbound",tls="true"} %d
request_total{direction="outbound",authority="a\"b\\c\nd"} %d
# TYPE response_latency_ms histogram
response_latency_ms_bucket{le="1"} %d
response_latency_ms_bucket{le="10"} %d
response_latency_ms_bucket{le="+Inf"} %d
response_latency_ms_sum %d
response_latency_ms_count %d
# TYPE idle_total counter
idle_total{pod="of the series"} 5
# TYPE proxy_build_info gauge
proxy_build_info 1
# TYPE tcp_open_connections gauge
tcp_open_connections{peer="src"} %v
`, n(1), n(0.3), n(0.5), n(0.9), n(1), n(20), n(1), rate/10)
}

// startPrometheus returns the URL of a Prometheus that scrapes the pods' addresses.
func startPrometheus(t *testing.T, pods []*corev1.Pod, addresses map[string]string) string {
	t.Helper()
	var targets []map[string]any
	for _, pod := range pods {
		labels := scrape.Labels(pod)
		delete(labels, "job")
		targets = append(targets, map[string]any{"targets": []string{addresses[pod.Name]}, "labels": labels})
	}
	return prometheustest.Start(t, map[string]any{
		"global": map[string]any{"scrape_interval": "500ms", "scrape_timeout": "500ms"},
		"scrape_configs": []map[string]any{
			{"job_name": "linkerd-proxy", "metrics_path": "/", "static_configs": targets}},
	})
}

// await returns when Prometheus has scraped both pods.
func await(t *testing.T, reference *prometheus.Source) {
	t.Helper()
	var answer metrics.Answer
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		answer, err = reference.Ask(t.Context(), time.Minute,
			[]metrics.Query{{Metric: "request_total", By: []string{"pod"}, Now: true}})
		if err == nil && len(answer.Samples[0]) == 2 {
			return
		}
	}
	t.Fatalf("Prometheus scraped no two pods: %v, %v", answer, err)
}

// compare returns where the answers differ by more than 2 %.
func compare(want, got metrics.Answer) (out []string) {
	for i, q := range agreementQueries {
		values := func(a metrics.Answer) map[string]float64 {
			out := map[string]float64{}
			for _, s := range a.Samples[i] {
				out[fmt.Sprint(s.Labels)] = s.Value
			}
			return out
		}
		wanted, have := values(want), values(got)
		for labels := range have {
			if _, ok := wanted[labels]; !ok {
				out = append(out, fmt.Sprintf("%s: %s is not in Prometheus's answer", q.PromQL(agreementWindow), labels))
			}
		}
		for labels, w := range wanted {
			if g, ok := have[labels]; !ok || math.Abs(g-w) > 0.02*w {
				out = append(out, fmt.Sprintf("%s: %s: got %v, Prometheus has %v", q.PromQL(agreementWindow), labels, g, w))
			}
		}
	}
	return out
}
