package golden

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
)

// read asks for a series by the label "deployment".
func read(t *testing.T, s Series, text string) map[string]Stats {
	t.Helper()
	source, err := metricstest.New(text)
	if err != nil {
		t.Fatal(err)
	}
	by := []string{"deployment"}
	answer, err := source.Ask(t.Context(), time.Minute, s.Queries([]metrics.Match{metrics.Not("deployment", "")}, by))
	if err != nil {
		t.Fatal(err)
	}
	return s.Read(answer.Samples[0], answer.Samples[1], by, answer.Window)
}

func TestRead(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		name   string
		series Series
		text   string
		want   map[string]Stats
	}{
		{"nothing", Requests, "", map[string]Stats{}},
		{"no responses in the window", Requests, `response_total{deployment="web",classification="success"} 0` + "\n",
			map[string]Stats{}},
		{"a response without a classification failed", Requests, `response_total{deployment="web"} 60` + "\n",
			map[string]Stats{"web": {0, 1, nan, nan, nan}}},
		{"latencies", Requests, `response_total{deployment="web",classification="success"} 45
response_total{deployment="web",classification="failure"} 15
response_latency_ms_bucket{deployment="web",le="10"} 60
response_latency_ms_bucket{deployment="web",le="+Inf"} 60
`, map[string]Stats{"web": {0.75, 1, 5, 9.5, 9.9}}},
		{"HTTP statuses and errors", HTTPRoutes, `outbound_http_route_request_statuses_total{deployment="web",http_status="404"} 3
outbound_http_route_request_statuses_total{deployment="web",http_status="5xx"} 1
outbound_http_route_request_statuses_total{deployment="web",http_status="200",error="RESET"} 1
outbound_http_route_request_statuses_total{deployment="web",error="IO"} 1
outbound_http_route_request_duration_seconds_bucket{deployment="web",le="0.5"} 6
outbound_http_route_request_duration_seconds_bucket{deployment="web",le="+Inf"} 6
`, map[string]Stats{"web": {0.5, 0.1, 250, 475, 495}}},
		{"gRPC statuses", GRPCRoutes, `outbound_grpc_route_request_statuses_total{deployment="web",grpc_status="OK"} 1
outbound_grpc_route_request_statuses_total{deployment="web",grpc_status="NOT_FOUND"} 1
outbound_grpc_route_request_statuses_total{deployment="web",grpc_status="UNAVAILABLE"} 1
outbound_grpc_route_request_statuses_total{deployment="web",grpc_status="14"} 1
`, map[string]Stats{"web": {0.5, 4.0 / 60, nan, nan, nan}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, read(t, tt.series, tt.text), cmpopts.EquateNaNs(),
				cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCells(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		name  string
		stats *Stats
		want  []string
	}{
		{"no traffic", nil, []string{"-", "-", "-", "-", "-"}},
		{"all known", &Stats{1, 2, 1.4, 123, 50000}, []string{"100.00%", "2.0rps", "1ms", "123ms", "50000ms"}},
		{"no latency", &Stats{0.33333, 0.04, nan, nan, nan}, []string{"33.33%", "0.0rps", "-", "-", "-"}},
	} {
		if diff := cmp.Diff(tt.want, tt.stats.Cells()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
