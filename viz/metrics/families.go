package metrics

import "slices"

// These are the metrics that the commands ask for. metrics-api refuses all others: it asks Prometheus with rights of
// its own, and a Prometheus may hold more than the numbers of the mesh.
const (
	RequestTotal          = "request_total"
	ResponseTotal         = "response_total"
	ResponseLatency       = "response_latency_ms"
	RouteResponseTotal    = "route_response_total"
	RouteResponseLatency  = "route_response_latency_ms"
	RouteActualTotal      = "route_actual_response_total"
	RouteActualLatency    = "route_actual_response_latency_ms"
	HTTPRouteStatuses     = "outbound_http_route_request_statuses_total"
	HTTPRouteDuration     = "outbound_http_route_request_duration_seconds"
	HTTPRouteRetries      = "outbound_http_route_retry_requests_total"
	HTTPBackendRequests   = "outbound_http_route_backend_requests_total"
	HTTPBackendStatuses   = "outbound_http_route_backend_response_statuses_total"
	HTTPBackendDuration   = "outbound_http_route_backend_response_duration_seconds"
	GRPCRouteStatuses     = "outbound_grpc_route_request_statuses_total"
	GRPCRouteDuration     = "outbound_grpc_route_request_duration_seconds"
	GRPCRouteRetries      = "outbound_grpc_route_retry_requests_total"
	GRPCBackendRequests   = "outbound_grpc_route_backend_requests_total"
	GRPCBackendStatuses   = "outbound_grpc_route_backend_response_statuses_total"
	GRPCBackendDuration   = "outbound_grpc_route_backend_response_duration_seconds"
	TCPRouteOpenTotal     = "outbound_tcp_route_open_total"
	TLSRouteOpenTotal     = "outbound_tls_route_open_total"
	InboundHTTPAllowTotal = "inbound_http_authz_allow_total"
	InboundHTTPDenyTotal  = "inbound_http_authz_deny_total"
	InboundTCPAllowTotal  = "inbound_tcp_authz_allow_total"
	InboundTCPDenyTotal   = "inbound_tcp_authz_deny_total"
	InboundRateLimitTotal = "inbound_http_local_ratelimit_total"
	TCPOpenTotal          = "tcp_open_total"
	TCPOpenConnections    = "tcp_open_connections"
	TCPReadBytes          = "tcp_read_bytes_total"
	TCPWriteBytes         = "tcp_write_bytes_total"
	BuildInfo             = "proxy_build_info"
	ControlConnected      = "control_connected"
	ControlStale          = "tulle_control_stale_seconds"
	CertificateExpiration = "control_identity_cert_expiration_timestamp_seconds"
)

// bucketSuffix ends the name of a histogram's buckets.
const bucketSuffix = "_bucket"

// BucketsOf returns the name of the metric with a histogram's buckets.
func BucketsOf(histogram string) string { return histogram + bucketSuffix }

var allowed = []string{
	RequestTotal, ResponseTotal, BucketsOf(ResponseLatency), RouteResponseTotal, BucketsOf(RouteResponseLatency),
	RouteActualTotal, BucketsOf(RouteActualLatency), HTTPRouteStatuses, BucketsOf(HTTPRouteDuration), HTTPRouteRetries,
	HTTPBackendRequests, HTTPBackendStatuses, BucketsOf(HTTPBackendDuration), GRPCRouteStatuses,
	BucketsOf(GRPCRouteDuration), GRPCRouteRetries, GRPCBackendRequests, GRPCBackendStatuses,
	BucketsOf(GRPCBackendDuration), TCPRouteOpenTotal, TLSRouteOpenTotal,
	InboundHTTPAllowTotal, InboundHTTPDenyTotal, InboundTCPAllowTotal,
	InboundTCPDenyTotal, InboundRateLimitTotal, TCPOpenTotal, TCPOpenConnections, TCPReadBytes, TCPWriteBytes, BuildInfo,
	ControlConnected, ControlStale,
	CertificateExpiration,
}

// Allowed reports whether metrics-api may answer about a metric.
func Allowed(metric string) bool { return slices.Contains(allowed, metric) }
