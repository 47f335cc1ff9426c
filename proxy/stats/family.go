// Package stats counts what the proxy does and writes it as Prometheus text.
//
// It owns the name, type and help of all metrics, the counters behind them and the exposition. It imports mesh,
// proxy/clock, proxy/exchange, proxy/limit and the standard library only. A client library would cost more memory than
// the rest of an idle proxy, and more time than the rest of a request. The one idea: a connection resolves its group of
// series once and then adds to plain atomics. Only a scrape joins names and labels with numbers.
package stats

// Type is a metric's type as the text format names it.
type Type string

// The types in use.
const (
	CounterType   Type = "counter"
	GaugeType     Type = "gauge"
	HistogramType Type = "histogram"
)

// Family is one metric: all series with one name.
type Family struct {
	Name   string
	Type   Type
	Help   string
	Labels string // in addition to the common labels of its kind, for docs/metrics.md
}

// id is the index of a family in Families.
type id int

// The families. Names that do not begin with tulle_, and their labels, are Linkerd's, so that existing dashboards work.
const (
	requestTotal id = iota
	responseTotal
	responseLatency
	tcpOpenTotal
	tcpOpenConnections
	tcpCloseTotal
	tcpDuration
	tcpReadBytes
	tcpWriteBytes
	routeRequestTotal
	routeResponseTotal
	routeResponseLatency
	routeActualRequestTotal
	routeActualResponseTotal
	routeActualResponseLatency
	httpRouteStatuses
	httpRouteDuration
	httpBackendRequests
	httpBackendStatuses
	httpBackendDuration
	grpcRouteStatuses // from here on as for HTTP, see family
	grpcRouteDuration
	grpcBackendRequests
	grpcBackendStatuses
	grpcBackendDuration
	balancerEndpoints
	balancerP2C
	balancerUpdates
	queueLength
	queueRequests
	queueLatency
	gateOpen
	gateShut
	gateOpenTime
	gateShutTime
	gateTimeout
	tcpBalancerEndpoints // from here on as for HTTP, see Balancer.collect
	_
	_
	_
	_
	_
	_
	_
	_
	_
	_
	balancerEjected
	inboundHTTPRequests
	inboundHTTPStatuses
	inboundHTTPRequestDuration
	inboundHTTPResponseDuration
	inboundGRPCRequests // from here on as for HTTP, see InboundRoute.collect
	_
	_
	_
	controlRequestTotal
	controlResponseTotal
	controlResponseLatency
	// The families from here on have their own series (Registry.Counter, Registry.Func).
	firstSingle
)

// Families returns all metrics of the proxy, in the order of the exposition.
func Families() []Family { return families[:] }

var families = [...]Family{
	{"request_total", CounterType, "Requests that arrived.", ""},
	{"response_total", CounterType,
		"Responses that ended. error names the fault if the proxy answered in the application's place.",
		"status_code, classification, grpc_status, error"},
	{"response_latency_ms", HistogramType,
		"Time from a request's head to the first byte of its response's body, or to the end of a response without, in " +
			"milliseconds.", "status_code, classification, grpc_status"},
	{"tcp_open_total", CounterType, "Connections that were opened.", "peer"},
	{"tcp_open_connections", GaugeType, "Connections that are open.", "peer"},
	{"tcp_close_total", CounterType, "Connections that were closed. errno is empty after an orderly end.", "peer, errno"},
	{"tcp_connection_duration_ms", HistogramType, "Life of closed connections, in milliseconds.", "peer"},
	{"tcp_read_bytes_total", CounterType, "Bytes read from the peer, above TLS.", "peer"},
	{"tcp_write_bytes_total", CounterType, "Bytes written to the peer, above TLS.", "peer"},
	{"route_request_total", CounterType, "Requests that fell under a named route: of a Service, or inbound of a Server.",
		"dst, rt_route"},
	{"route_response_total", CounterType, "Responses to requests of a named route that ended.",
		"dst, rt_route, status_code, classification, grpc_status, error"},
	{"route_response_latency_ms", HistogramType,
		"Time from a request's head to the first byte of its response's body, or to the end of a response without, in " +
			"milliseconds.", "dst, rt_route, status_code, classification, grpc_status"},
	{"route_actual_request_total", CounterType,
		"Attempts of requests that fell under a named route: route_request_total and the retries.", "dst, rt_route"},
	{"route_actual_response_total", CounterType, "How the attempts ended.",
		"dst, rt_route, status_code, classification, grpc_status, error"},
	{"route_actual_response_latency_ms", HistogramType,
		"Time from sending an attempt to the first byte of its answer's body, or to the end of an answer without, in " +
			"milliseconds.", "dst, rt_route, status_code, classification, grpc_status"},
	{"outbound_http_route_request_statuses_total", CounterType,
		"Requests of HTTP routes that ended. error names the fault if the proxy answered in the application's place.",
		"parent_*, route_*, http_status, error"},
	{"outbound_http_route_request_duration_seconds", HistogramType,
		"Time from a request's head to the end of its response.", "parent_*, route_*"},
	{"outbound_http_route_backend_requests_total", CounterType,
		"Requests of HTTP routes that were sent to a backend, each attempt once.", "parent_*, route_*, backend_*"},
	{"outbound_http_route_backend_response_statuses_total", CounterType, "How those ended.",
		"parent_*, route_*, backend_*, http_status, error"},
	{"outbound_http_route_backend_response_duration_seconds", HistogramType,
		"Time from the end of a request that was sent to a backend to the end of its answer.",
		"parent_*, route_*, backend_*"},
	{"outbound_grpc_route_request_statuses_total", CounterType,
		"Requests of gRPC routes that ended. error names the fault if the proxy answered in the application's place.",
		"parent_*, route_*, grpc_status, error"},
	{"outbound_grpc_route_request_duration_seconds", HistogramType,
		"Time from a request's head to the end of its response.", "parent_*, route_*"},
	{"outbound_grpc_route_backend_requests_total", CounterType,
		"Requests of gRPC routes that were sent to a backend, each attempt once.", "parent_*, route_*, backend_*"},
	{"outbound_grpc_route_backend_response_statuses_total", CounterType, "How those ended.",
		"parent_*, route_*, backend_*, grpc_status, error"},
	{"outbound_grpc_route_backend_response_duration_seconds", HistogramType,
		"Time from the end of a request that was sent to a backend to the end of its answer.",
		"parent_*, route_*, backend_*"},
	{"outbound_http_balancer_endpoints", GaugeType,
		"Endpoints of a Service that requests were sent to: ready ones, and those that are left out, because they cannot " +
			"be reached or failed too often.", "parent_*, backend_*, endpoint_state"},
	{"outbound_http_balancer_p2c_endpoints", GaugeType, "Endpoints of such a Service, whatever their state.",
		"parent_*, backend_*"},
	{"outbound_http_balancer_p2c_updates_total", CounterType,
		"Changes of those endpoints: some came (Add), went (Remove), or both (Reset).", "parent_*, backend_*, op"},
	{"outbound_http_balancer_queue_length", GaugeType, "Requests that wait for an endpoint.", "parent_*, backend_*"},
	{"outbound_http_balancer_queue_requests_total", CounterType, "Requests that asked for an endpoint, each attempt once.",
		"parent_*, backend_*"},
	{"outbound_http_balancer_queue_latency_seconds", HistogramType, "Time that they waited for an endpoint.",
		"parent_*, backend_*"},
	{"outbound_http_balancer_queue_gate_open_total", CounterType,
		"Times that the first endpoint came: at the beginning, and after there were none.", "parent_*, backend_*"},
	{"outbound_http_balancer_queue_gate_shut_total", CounterType,
		"Times that the gate shut because no endpoint came within the time to wait.", "parent_*, backend_*"},
	{"outbound_http_balancer_queue_gate_open_time_seconds", GaugeType,
		"When the gate opened, in seconds since 1970; 0 while it is shut.", "parent_*, backend_*"},
	{"outbound_http_balancer_queue_gate_shut_time_seconds", GaugeType,
		"When the gate shut, in seconds since 1970; 0 while it is open.", "parent_*, backend_*"},
	{"outbound_http_balancer_queue_gate_timeout_seconds", GaugeType, "Time that a request waits for an endpoint at most.",
		"parent_*, backend_*"},
	{"outbound_tcp_balancer_endpoints", GaugeType,
		"Endpoints of a Service that connections that are not HTTP were sent to: ready ones, and those that are left out, " +
			"because they cannot be reached or failed too often.", "parent_*, backend_*, endpoint_state"},
	{"outbound_tcp_balancer_p2c_endpoints", GaugeType, "Endpoints of such a Service, whatever their state.",
		"parent_*, backend_*"},
	{"outbound_tcp_balancer_p2c_updates_total", CounterType,
		"Changes of those endpoints: some came (Add), went (Remove), or both (Reset).", "parent_*, backend_*, op"},
	{"outbound_tcp_balancer_queue_length", GaugeType, "Connections that are not HTTP that wait for an endpoint.",
		"parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_requests_total", CounterType,
		"Connections that are not HTTP that asked for an endpoint, each attempt once.", "parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_latency_seconds", HistogramType, "Time that they waited for an endpoint.",
		"parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_gate_open_total", CounterType,
		"Times that the first endpoint came: at the beginning, and after there were none.", "parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_gate_shut_total", CounterType,
		"Times that the gate shut because no endpoint came within the time to wait.", "parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_gate_open_time_seconds", GaugeType,
		"When the gate opened, in seconds since 1970; 0 while it is shut.", "parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_gate_shut_time_seconds", GaugeType,
		"When the gate shut, in seconds since 1970; 0 while it is open.", "parent_*, backend_*"},
	{"outbound_tcp_balancer_queue_gate_timeout_seconds", GaugeType,
		"Time that a connection waits for an endpoint at most.", "parent_*, backend_*"},
	{"tulle_balancer_endpoints_ejected", GaugeType,
		"Endpoints of a Service that get no requests because they failed too often.", "parent_*, backend_*"},
	{"inbound_http_requests_total", CounterType, "Requests that policy let in under HTTPRoutes, and without a route.",
		"parent_group, parent_kind, parent_name, parent_port, route_*"},
	{"inbound_http_statuses_total", CounterType, "How those ended; status is that of HTTP.",
		"parent_group, parent_kind, parent_name, parent_port, route_*, status"},
	{"inbound_http_request_duration_seconds", HistogramType, "Time from a request's head to the end of its response.",
		"parent_group, parent_kind, parent_name, parent_port, route_*"},
	{"inbound_http_response_duration_seconds", HistogramType, "Time from the end of a request to the end of its response.",
		"parent_group, parent_kind, parent_name, parent_port, route_*"},
	{"inbound_grpc_requests_total", CounterType, "Requests that policy let in under GRPCRoutes.",
		"parent_group, parent_kind, parent_name, parent_port, route_*"},
	{"inbound_grpc_statuses_total", CounterType, "How those ended; status is that of gRPC as a number.",
		"parent_group, parent_kind, parent_name, parent_port, route_*, status"},
	{"inbound_grpc_request_duration_seconds", HistogramType, "Time from a request's head to the end of its response.",
		"parent_group, parent_kind, parent_name, parent_port, route_*"},
	{"inbound_grpc_response_duration_seconds", HistogramType, "Time from the end of a request to the end of its response.",
		"parent_group, parent_kind, parent_name, parent_port, route_*"},
	{"control_request_total", CounterType,
		"Questions to the control plane: certificates asked of the identity controller, and of the destination controller " +
			"targets, and streams that could not be opened.", "addr, server_id"},
	{"control_response_total", CounterType, "How those ended: for a target with its first value.",
		"addr, server_id, status_code, classification, grpc_status"},
	{"control_response_latency_ms", HistogramType, "Time from the question to the answer, in milliseconds.",
		"addr, server_id, status_code, classification, grpc_status"},
	{"route_retryable_total", CounterType, "Failures that the named route's policy covers: retried, or skipped and why.",
		"dst, rt_route, skipped"},
	{"outbound_http_route_retry_requests_total", CounterType, "Retries of requests of HTTP routes.", "parent_*, route_*"},
	{"outbound_http_route_retry_successes_total", CounterType, "Requests that succeeded after a retry.",
		"parent_*, route_*"},
	{"outbound_http_route_retry_limit_exceeded_total", CounterType,
		"Failures that were not retried because the request had used all its retries.", "parent_*, route_*"},
	{"outbound_http_route_retry_overflow_total", CounterType,
		"Failures that were not retried because the retry budget was spent.", "parent_*, route_*"},
	{"outbound_http_route_retry_skipped_total", CounterType,
		"Failures that the retry policy covers but that were not retried, by reason.", "parent_*, route_*, reason"},
	{"outbound_grpc_route_retry_requests_total", CounterType, "Retries of requests of gRPC routes.", "parent_*, route_*"},
	{"outbound_grpc_route_retry_successes_total", CounterType, "Requests that succeeded after a retry.",
		"parent_*, route_*"},
	{"outbound_grpc_route_retry_limit_exceeded_total", CounterType,
		"Failures that were not retried because the request had used all its retries.", "parent_*, route_*"},
	{"outbound_grpc_route_retry_overflow_total", CounterType,
		"Failures that were not retried because the retry budget was spent.", "parent_*, route_*"},
	{"outbound_grpc_route_retry_skipped_total", CounterType,
		"Failures that the retry policy covers but that were not retried, by reason.", "parent_*, route_*, reason"},
	{"outbound_tcp_route_open_total", CounterType,
		"Connections other than HTTP that were opened, by the TCPRoute, or the default, that applied.", "parent_*, route_*"},
	{"outbound_tcp_route_close_total", CounterType, "How those ended; error is empty for an orderly end.",
		"parent_*, route_*, error"},
	{"outbound_tls_route_open_total", CounterType,
		"Connections other than HTTP that were opened, by the TLSRoute that applied.", "parent_*, route_*"},
	{"outbound_tls_route_close_total", CounterType, "How those ended; error is empty for an orderly end.",
		"parent_*, route_*, error"},
	{MirrorCopies, CounterType, "Copies of requests for mirrors, by how they ended: answered, or why not.",
		"parent_*, route_*, backend_*, result, status_code"},
	{InboundHTTPAllow, CounterType, "Requests that policy allowed.", "route_*, authz_*"},
	{InboundHTTPDeny, CounterType, "Requests that policy denied.", "route_*, reason"},
	{InboundHTTPNoRoute, CounterType, "Requests that matched no route of their Server.", ""},
	{InboundHTTPLimited, CounterType, "Requests that a rate limit refused.",
		"ratelimit_group, ratelimit_kind, ratelimit_name, ratelimit_scope"},
	{InboundTCPAllow, CounterType, "Connections that policy allowed.", "authz_*"},
	{InboundTCPDeny, CounterType, "Connections that policy denied.", "reason"},
	{InboundTCPTerminate, CounterType, "Open connections that the proxy reset because policy no longer allows them.",
		"reason"},
	{InboundHTTPErrors, CounterType, "Inbound requests that the proxy failed, and why.", "error, reason"},
	{OutboundHTTPErrors, CounterType, "Outbound requests that the proxy failed, and why.", "error, reason"},
	{InboundTCPErrors, CounterType, "Inbound connections that the proxy failed.", "error"},
	{OutboundTCPErrors, CounterType, "Outbound connections that the proxy failed.", "error"},
	{HTTP2Ended, CounterType,
		"HTTP/2 connections that the proxy ended because the peer flooded it or broke the protocol. peer_kind is one of " +
			"local_client, meshed_client, unmeshed_client, meshed_server, unmeshed_server.",
		"direction, peer_kind, error, reason"},
	{MeshConnectionsExpired, CounterType,
		"Open mesh TLS connections whose peer's certificate or its trust anchor lapsed, by what became of them: drained, " +
			"so that new requests go over another one, or cut.", "direction, action, reason"},
	{"control_connected", GaugeType, "1 while the stream to the destination controller is up.", "addr"},
	{"control_connect_failures_total", CounterType, "Streams to the destination controller that failed.", "addr"},
	{"tulle_control_values_total", CounterType,
		"Values that came from the destination controller, answers and what changed afterwards; refused are those that " +
			"make no sense.", "addr, result"},
	{"tulle_control_stale_seconds", GaugeType, "Time since the control plane was heard of, in seconds; 0 while connected.",
		""},
	{"tulle_control_targets", GaugeType, "Outbound addresses whose value is kept.", ""},
	{"control_identity_cert_expiration_timestamp_seconds", GaugeType, "When the active certificate expires.", ""},
	{"control_identity_cert_refresh_timestamp_seconds", GaugeType, "When the active certificate arrived.", ""},
	{"control_identity_cert_refreshes_total", CounterType, "Attempts to get a certificate.", "result"},
	{"identity_cert_expiration_timestamp_seconds", GaugeType, "The same, as older versions of Linkerd name it.", ""},
	{"identity_cert_refresh_timestamp_seconds", GaugeType, "The same, as older versions of Linkerd name it.", ""},
	{"identity_cert_refreshes_total", CounterType, "The same, as older versions of Linkerd name it.", "result"},
	{"tulle_trust_roots_hash", GaugeType,
		"A number for the set of trust anchors with which the proxy verifies peers, for `tulle identity rotate`.", ""},
	{"tulle_identity_issuer_hash", GaugeType,
		"A number for the issuer that signed the active certificate, for `tulle identity rotate`.", ""},
	{"tulle_trust_roots_errors_total", CounterType, "Times that the trust roots file could not be used.", ""},
	{overflowTotal, CounterType,
		"Label sets, and statuses of a label set, that count under overflow=\"true\" because the limits are reached; " +
			"family is the first metric that has the labels.", "family"},
	{evictedTotal, CounterType, "Idle label sets that were removed to make room for new ones; family as above.", "family"},
	{"tulle_admin_connections_refused_total", CounterType,
		"Connections to the admin port that were closed because there were too many, from one address or in total.", ""},
	{"tulle_tap_subscriptions", GaugeType, "Subscriptions to the proxy's requests (docs/tap.md).", ""},
	{"tulle_tap_events_lost_total", CounterType, "Events that a subscriber lost because it read too slowly.", ""},
	{"tulle_tap_refused_total", CounterType,
		"Connections to the control port and subscriptions that were refused: too many, or not the tap server.", ""},
	{"tulle_traces_spans_exported_total", CounterType, "Spans that the collector took (docs/tracing.md).", ""},
	{"tulle_traces_spans_dropped_total", CounterType,
		"Spans that were dropped: queue_full (the collector is slow or away), unavailable (it did not take them within a " +
			"minute) or rejected (it does not want them).", "reason"},
	{"tulle_traces_export_failures_total", CounterType, "Exports of spans that failed, each try once.", ""},
	{"tulle_log_lines_lost_total", CounterType,
		"Lines of the log and the access log that were lost because nobody read them in time.", ""},
	{"tulle_memory_heap_bytes", GaugeType, "Live and dead objects of the heap.", ""},
	{"tulle_memory_stack_bytes", GaugeType, "Goroutine stacks.", ""},
	{"tulle_goroutines", GaugeType, "Goroutines.", ""},
	{"process_start_time_seconds", GaugeType, "When the process started.", ""},
	{"process_cpu_seconds_total", CounterType, "User and system time.", ""},
	{"process_resident_memory_bytes", GaugeType, "Resident memory.", ""},
	{"process_virtual_memory_bytes", GaugeType, "Virtual memory.", ""},
	{"process_open_fds", GaugeType, "Open descriptors.", ""},
	{"process_max_fds", GaugeType, "Limit of open descriptors.", ""},
	{"proxy_build_info", GaugeType, "1, labelled with the build.", "version, go_version"},
}

// Names of the families about the registry itself.
const (
	overflowTotal = "tulle_metrics_overflow_total"
	evictedTotal  = "tulle_metrics_evicted_total"
)

// Names of the families whose series are made with Registry.Counter.
const (
	MirrorCopies           = "tulle_mirror_copies_total"
	InboundHTTPAllow       = "inbound_http_authz_allow_total"
	InboundHTTPDeny        = "inbound_http_authz_deny_total"
	InboundHTTPNoRoute     = "inbound_http_route_not_found_total"
	InboundHTTPLimited     = "inbound_http_local_ratelimit_total"
	InboundTCPAllow        = "inbound_tcp_authz_allow_total"
	InboundTCPDeny         = "inbound_tcp_authz_deny_total"
	InboundTCPTerminate    = "inbound_tcp_authz_terminate_total"
	InboundHTTPErrors      = "inbound_http_errors_total"
	OutboundHTTPErrors     = "outbound_http_errors_total"
	HTTP2Ended             = "tulle_http2_connections_ended_total"
	MeshConnectionsExpired = "tulle_mesh_connections_lapsed_total"
	InboundTCPErrors       = "inbound_tcp_errors_total"
	OutboundTCPErrors      = "outbound_tcp_errors_total"
)

// lookup returns the family with that name. A name that is not in the table is a programmer's error.
func lookup(name string) id {
	for i := range families {
		if families[i].Name == name {
			return id(i)
		}
	}
	panic("stats: no such metric: " + name)
}
