package scrape

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// busyText is about what a proxy with 100 routes and 100 peers writes (proxy/stats, BenchmarkScrape): 300 label sets
// with a counter and a histogram of 26 buckets each. The queries below want a third of them.
func busyText() string {
	var b strings.Builder
	for _, kind := range []string{"", "route_", "route_actual_"} {
		fmt.Fprintf(&b, "# TYPE %sresponse_total counter\n# TYPE %[1]sresponse_latency_ms histogram\n", kind)
		for i := range 100 {
			labels := fmt.Sprintf(`direction="outbound",authority="service-%d.shop.svc.cluster.local:8080",`+
				`target_addr="10.0.0.%[1]d:8080",tls="true",server_id="spiffe://cluster.local/ns/shop/sa/service-%[1]d",`+
				`dst_namespace="shop",dst_service="service-%[1]d",dst_pod="service-%[1]d-5d4c7f-x2x1z",`+
				`dst_deployment="service-%[1]d",status_code="200",classification="success"`, i)
			fmt.Fprintf(&b, "%sresponse_total{%s} %d\n", kind, labels, i)
			for le := range 26 {
				fmt.Fprintf(&b, "%sresponse_latency_ms_bucket{%s,le=\"%d\"} %d\n", kind, labels, le, i*le)
			}
			fmt.Fprintf(&b, "%sresponse_latency_ms_sum{%s} 1\n%[1]sresponse_latency_ms_count{%[2]s} 1\n", kind, labels)
		}
	}
	return b.String()
}

var busyQueries = []metrics.Query{
	{Metric: "response_total", By: []string{"deployment", "classification"},
		Match: []metrics.Match{metrics.Is("direction", "outbound")}},
	{Metric: "response_latency_ms_bucket", By: []string{"deployment", "le"},
		Match: []metrics.Match{metrics.Is("direction", "outbound")}},
}

// BenchmarkParse is the parse of one scrape: of two metrics, and, for comparison, of all.
func BenchmarkParse(b *testing.B) {
	text := busyText()
	all := map[string]bool{}
	for _, kind := range []string{"", "route_", "route_actual_"} {
		for _, metric := range []string{"response_total", "response_latency_ms_bucket", "response_latency_ms_sum",
			"response_latency_ms_count"} {
			all[kind+metric] = true
		}
	}
	for name, wanted := range map[string]map[string]bool{
		"two metrics": {"response_total": true, "response_latency_ms_bucket": true}, "all": all,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := parse(strings.NewReader(text), wanted, defaultMaxBytes,
					func(string, series) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSums is what is done with two parsed scrapes of one proxy.
func BenchmarkSums(b *testing.B) {
	type line struct {
		metric string
		series series
	}
	var lines []line
	if err := parse(strings.NewReader(busyText()),
		map[string]bool{"response_total": true, "response_latency_ms_bucket": true}, defaultMaxBytes,
		func(metric string, s series) error {
			lines = append(lines, line{metric, s})
			return nil
		}); err != nil {
		b.Fatal(err)
	}
	pod := &corev1.Pod{}
	pod.Name, pod.Labels = "web-1", map[string]string{"linkerd.io/proxy-deployment": "web"}
	t := &target{pod: pod, labels: Labels(pod)}
	b.ReportAllocs()
	for b.Loop() {
		s := newSums(busyQueries, time.Minute)
		r := New(Config{}).newCollectors(s)
		for at, begin := range []func(*target, time.Time) collector{r.forFirst, r.forSecond} {
			c := begin(t, time.Unix(int64(at)*60, 0))
			for _, l := range lines {
				_ = c.add(l.metric, l.series)
			}
			c.finish(true)
		}
		if got := s.samples(); len(got[0]) != 1 || len(got[1]) != 26 {
			b.Fatalf("got %d and %d samples", len(got[0]), len(got[1]))
		}
	}
}
