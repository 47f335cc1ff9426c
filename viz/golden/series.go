package golden

import (
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Requests are all requests that a proxy sees, by direction.
var Requests = Series{metrics.ResponseTotal, metrics.ResponseLatency, []string{"classification"}, notSuccess, 1}

// HTTPRoutes and GRPCRoutes are the requests of routes of Services, as the clients' proxies see them: the
// application's requests, not the attempts.
var (
	HTTPRoutes = Series{metrics.HTTPRouteStatuses, metrics.HTTPRouteDuration,
		[]string{"http_status", "error"}, failedHTTP, 1000}
	GRPCRoutes = Series{metrics.GRPCRouteStatuses, metrics.GRPCRouteDuration,
		[]string{"grpc_status", "error"}, failedGRPC, 1000}
)

func notSuccess(labels map[string]string) bool { return labels["classification"] != "success" }

// failedHTTP reports a response with a status of 500 and above, or that the proxy made or did not get.
func failedHTTP(labels map[string]string) bool {
	return labels["error"] != "" || labels["http_status"] == "" || strings.HasPrefix(labels["http_status"], "5")
}

// grpcFailures are the codes that blame the server. The list is Linkerd's.
var grpcFailures = []string{"UNKNOWN", "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"2", "4", "7", "13", "14", "15"}

func failedGRPC(labels map[string]string) bool {
	return labels["error"] != "" || labels["grpc_status"] == "" || slices.Contains(grpcFailures, labels["grpc_status"])
}
