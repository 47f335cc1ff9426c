package golden

import (
	"cmp"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// HTTPBackends and GRPCBackends are the attempts that routes of Services sent to a backend, as the clients' proxies see
// them.
var (
	HTTPBackends = Series{metrics.HTTPBackendStatuses,
		metrics.HTTPBackendDuration, []string{"http_status", "error"}, failedHTTP, 1000}
	GRPCBackends = Series{metrics.GRPCBackendStatuses,
		metrics.GRPCBackendDuration, []string{"grpc_status", "error"}, failedGRPC, 1000}
)

// Named are the application's requests of named routes, and Attempts those with their retries.
var (
	Named    = Series{metrics.RouteResponseTotal, metrics.RouteResponseLatency, []string{"classification"}, notSuccess, 1}
	Attempts = Series{metrics.RouteActualTotal, metrics.RouteActualLatency, []string{"classification"},
		notSuccess, 1}
)

// Row is the Stats of the series that share the values of some labels.
type Row struct {
	// Labels are those of one of the series.
	Labels map[string]string
	Stats  Stats
}

// Rows returns what Read does, with the labels of each set, in the order of their Keys.
func (s Series) Rows(responses, buckets []metrics.Sample, by []string, window time.Duration) []Row {
	labels := map[string]map[string]string{}
	for _, sample := range responses {
		labels[Key(sample.Labels, by)] = sample.Labels
	}
	stats := s.Read(responses, buckets, by, window)
	rows := make([]Row, 0, len(stats))
	for key, one := range stats {
		rows = append(rows, Row{labels[key], one})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(Key(a.Labels, by), Key(b.Labels, by)) })
	return rows
}
