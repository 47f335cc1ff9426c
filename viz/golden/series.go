package golden

import (
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Requests are all requests that a proxy sees, by direction.
var Requests = Series{metrics.ResponseTotal, metrics.ResponseLatency, []string{"classification"}, failedClassification,
	1}

// HTTPRoutes and GRPCRoutes are the requests of routes of Services, as the clients' proxies see them: the
// application's requests, not the attempts.
var (
	HTTPRoutes = Series{metrics.HTTPRouteStatuses, metrics.HTTPRouteDuration,
		[]string{"http_status", "error"}, failedHTTP, 1000}
	GRPCRoutes = Series{metrics.GRPCRouteStatuses, metrics.GRPCRouteDuration,
		[]string{"grpc_status", "error"}, failedGRPC, 1000}
)

// HTTPBackends and GRPCBackends are the attempts that routes of Services sent to a backend, as the clients' proxies see
// them.
var (
	HTTPBackends = Series{metrics.HTTPBackendStatuses,
		metrics.HTTPBackendDuration, []string{"http_status", "error"}, failedHTTP, 1000}
	GRPCBackends = Series{metrics.GRPCBackendStatuses,
		metrics.GRPCBackendDuration, []string{"grpc_status", "error"}, failedGRPC, 1000}
)

// EffectiveRoutes are the application's requests of named routes, and ActualRoutes those requests with their retries.
// The words are Linkerd's.
var (
	EffectiveRoutes = Series{metrics.RouteResponseTotal, metrics.RouteResponseLatency, []string{"classification"},
		failedClassification, 1}
	ActualRoutes = Series{metrics.RouteActualTotal, metrics.RouteActualLatency, []string{"classification"},
		failedClassification, 1}
)

func failedClassification(labels map[string]string) bool {
	return labels["classification"] != "success"
}

// failedHTTP reports whether a response has a status of 500 or above, or the proxy made it or did not get it.
func failedHTTP(labels map[string]string) bool {
	return labels["error"] != "" || labels["http_status"] == "" || strings.HasPrefix(labels["http_status"], "5")
}

// grpcFailures are the codes that blame the server, by name and by number. The list is Linkerd's.
var grpcFailures = []string{"UNKNOWN", "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"2", "4", "7", "13", "14", "15"}

func failedGRPC(labels map[string]string) bool {
	return labels["error"] != "" || labels["grpc_status"] == "" || slices.Contains(grpcFailures, labels["grpc_status"])
}
