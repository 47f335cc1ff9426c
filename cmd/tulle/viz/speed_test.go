package viz

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/prometheustest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsapi"
	"github.com/tulle-mesh/tulle/viz/prometheus"
)

// The cluster of BenchmarkStat: its workloads, the pods of each, and the clients of each pod.
const (
	benchWorkloads = 500
	benchPods      = 2
	benchClients   = 2
)

// BenchmarkStat runs `viz stat deploy -A` as users do: an API server on loopback has the objects, and metrics-api asks
// a Prometheus (PROMETHEUS, or in the PATH). It reports the median time, that of the command's PromQL alone, and the
// ratio of both.
func BenchmarkStat(b *testing.B) {
	address := startBenchPrometheus(b)
	source := &recorded{Source: benchSource(b, address)}
	awaitBenchSeries(b, source.Source)
	cl := benchCluster(b, serveMetricsAPI(b, source))
	command := func() {
		var out, stderr bytes.Buffer
		cmd := New(Env{Out: &out, Err: &stderr, Connect: func() (*cluster.Client, error) { return cl, nil },
			ControlNamespace: func() string { return "tulle" }, Namespace: func() string { return "" }})
		cmd.SetArgs([]string{"stat", "deploy", "-A", "-t", "15s"})
		if err := cmd.ExecuteContext(b.Context()); err != nil || stderr.Len() > 0 {
			b.Fatalf("error %v, stderr %s", err, stderr.String())
		}
		if rows := strings.Count(out.String(), "100.00%"); rows != benchWorkloads {
			b.Fatalf("%d rows with traffic, want %d", rows, benchWorkloads)
		}
	}
	command() // asks for what bare then asks for
	var all, bare []time.Duration
	for b.Loop() {
		for range 5 {
			all = append(all, timeOf(command))
			bare = append(bare, timeOf(func() { askBare(b, address, source.queries) }))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(all).Seconds()*1000, "ms/command")
	b.ReportMetric(median(bare).Seconds()*1000, "ms/PromQL")
	b.ReportMetric(median(all).Seconds()/median(bare).Seconds(), "ratio")
}

func timeOf(f func()) time.Duration {
	begun := time.Now()
	f()
	return time.Since(begun)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// recorded keeps the queries that it passes on.
type recorded struct {
	metrics.Source
	queries []metrics.Query
}

// Ask implements metrics.Source.
func (r *recorded) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	r.queries = queries
	return r.Source.Ask(ctx, window, queries)
}

// askBare sends the queries as metrics-api does, all at once, and drops the answers.
func askBare(b *testing.B, address string, queries []metrics.Query) {
	b.Helper()
	var group errgroup.Group
	for _, q := range queries {
		group.Go(func() error {
			resp, err := http.PostForm(address+"/api/v1/query", url.Values{"query": {q.PromQL(15 * time.Second)}})
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %s", resp.Status)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

func benchSource(b *testing.B, address string) metrics.Source {
	b.Helper()
	source, err := prometheus.New(prometheus.Config{URL: address})
	if err != nil {
		b.Fatal(err)
	}
	return source
}

// startBenchPrometheus returns the URL of a Prometheus that scrapes the series of all pods from one target.
func startBenchPrometheus(b *testing.B) string {
	b.Helper()
	begun := time.Now()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(benchExposition(time.Since(begun)))
	}))
	b.Cleanup(target.Close)
	return prometheustest.Start(b, map[string]any{
		"global": map[string]any{"scrape_interval": "3s", "scrape_timeout": "3s"},
		"scrape_configs": []map[string]any{{"job_name": "linkerd-proxy", "honor_labels": true,
			"static_configs": []map[string]any{{"targets": []string{target.Listener.Addr().String()}}}}},
	})
}

// benchExposition is the series of all pods, after some time of steady traffic.
func benchExposition(since time.Duration) []byte {
	var out bytes.Buffer
	n := 1000 + int(since.Milliseconds())
	bounds := []int{1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000, 10000, 20000,
		30000, 40000, 50000}
	eachPod(func(namespace, deployment, pod string, i int) {
		labels := fmt.Sprintf(`namespace=%q,deployment=%q,pod=%q,control_plane_ns="tulle",direction="inbound"`, namespace,
			deployment, pod)
		for client := range benchClients {
			of := fmt.Sprintf(`%s,tls="true",client_id="spiffe://cluster.local/ns/%s/sa/client-%d"`, labels, namespace, client)
			fmt.Fprintf(&out, "response_total{%s,classification=\"success\",status_code=\"200\"} %d\n", of, n)
			for b, bound := range bounds {
				fmt.Fprintf(&out, "response_latency_ms_bucket{%s,le=\"%d\"} %d\n", of, bound, n*min(b+i%5, len(bounds))/len(bounds))
			}
			fmt.Fprintf(&out, "response_latency_ms_bucket{%s,le=\"+Inf\"} %d\n", of, n)
			fmt.Fprintf(&out, "tcp_open_connections{%s,peer=\"src\"} 3\n", of)
			fmt.Fprintf(&out, "tcp_read_bytes_total{%s,peer=\"src\"} %d\ntcp_write_bytes_total{%s,peer=\"src\"} %d\n", of, 99*n,
				of, n)
		}
	})
	return out.Bytes()
}

func eachPod(visit func(namespace, deployment, pod string, i int)) {
	for i := range benchWorkloads {
		for j := range benchPods {
			deployment := fmt.Sprintf("workload-%d", i)
			visit(fmt.Sprintf("team-%d", i%20), deployment, fmt.Sprintf("%s-5d8f7c-%d", deployment, j), i)
		}
	}
}

// awaitBenchSeries returns when every workload has an increase.
func awaitBenchSeries(b *testing.B, source metrics.Source) {
	b.Helper()
	query := []metrics.Query{{Metric: "response_total", By: []string{"deployment"}}}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(500 * time.Millisecond) {
		answer, err := source.Ask(b.Context(), 15*time.Second, query)
		if err == nil && len(answer.Samples[0]) == benchWorkloads {
			<-time.After(12 * time.Second) // then the window is full
			return
		}
	}
	b.Fatal("Prometheus has no increase of all workloads")
}

// serveMetricsAPI returns the address of a metrics-api.
func serveMetricsAPI(b *testing.B, source metrics.Source) string {
	b.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := metricsapi.New(metricsapi.Config{Source: source, Log: zap.NewNop(), Registry: prom.NewRegistry()})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, lis) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return lis.Addr().String()
}

// benchCluster is a client of an API server on loopback, with the extension at the address.
func benchCluster(b *testing.B, metricsAPI string) *cluster.Client {
	b.Helper()
	var pods []corev1.Pod
	var deployments []metav1.PartialObjectMetadata
	eachPod(func(namespace, deployment, name string, i int) {
		p := pod(namespace, deployment, name[strings.LastIndexByte(name, '-')+1:], "v1")
		for i := range 30 { // what the injector adds makes a pod about as large
			p.Spec.InitContainers[0].Env = append(p.Spec.InitContainers[0].Env,
				corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", i), Value: strings.Repeat("x", 100)})
		}
		pods = append(pods, *p)
		if len(pods)%benchPods == 0 {
			deployments = append(deployments, *object("apps/v1", "Deployment", namespace, deployment))
		}
	})
	api := corev1.Pod{}
	api.Name, api.Namespace = "metrics-api-1", mesh.VizNamespace
	api.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	mux := http.NewServeMux()
	half := len(pods) / 2 // two pages of 500
	mux.Handle("GET /api/v1/pods", listOf(b,
		&corev1.PodList{ListMeta: metav1.ListMeta{Continue: "more"}, Items: pods[:half]},
		&corev1.PodList{Items: pods[half:]}))
	mux.Handle("GET /api/v1/namespaces/"+mesh.VizNamespace+"/pods", listOf(b, &corev1.PodList{Items: []corev1.Pod{api}}))
	names, err := json.Marshal(metav1.PartialObjectMetadataList{Items: deployments,
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}})
	if err != nil {
		b.Fatal(err)
	}
	mux.HandleFunc("GET /apis/apps/v1/deployments", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_, _ = w.Write(names)
	})
	server := httptest.NewServer(mux)
	b.Cleanup(server.Close)
	kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, fmt.Appendf(nil, "apiVersion: v1\nkind: Config\ncurrent-context: c\n"+
		"clusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c}}]\n", server.URL),
		0o600); err != nil {
		b.Fatal(err)
	}
	cl, err := cluster.Connect(cluster.Config{Kubeconfig: kubeconfig})
	if err != nil {
		b.Fatal(err)
	}
	cl.DialPod = func(ctx context.Context, _, _ string, _ int) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", metricsAPI)
	}
	return cl
}

// listOf serves the first page of a list, and the second if the request continues, as an API server does.
func listOf(b *testing.B, pages ...*corev1.PodList) http.HandlerFunc {
	b.Helper()
	encoder := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	bodies := make([][]byte, len(pages))
	for i, page := range pages {
		page.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}
		var err error
		if bodies[i], err = runtime.Encode(encoder, page); err != nil {
			b.Fatal(err)
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		if r.FormValue("continue") != "" {
			_, _ = w.Write(bodies[1])
			return
		}
		_, _ = w.Write(bodies[0])
	}
}
