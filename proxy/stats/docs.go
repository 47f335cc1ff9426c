package stats

import (
	"fmt"
	"strings"
)

// Markdown returns the text of docs/metrics.md. A test compares it with the file.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Metrics of the proxy

Generated from proxy/stats; run ` + "`go test ./proxy/stats -update`" + ` after a change. The proxy serves them at ` + "`:4191/metrics`" + `.
Names and labels are Linkerd's where it has the metric, so that its dashboards and queries work; what Linkerd lacks begins with tulle_.

Labels that series share:

| who | labels |
|---|---|
| outbound requests and connections | direction, authority, target_addr, target_ip, target_port, tls, no_tls_reason, server_id, dst_namespace, dst_service, dst_pod, dst_serviceaccount, dst_<kind of owner>, dst_pod_template_hash, dst_control_plane_ns, dst_zone, dst_zone_locality |
| inbound requests and connections | direction, target_addr, target_ip, target_port, tls, no_tls_reason, client_id, srv_group, srv_kind, srv_name, srv_port |
| inbound requests beyond that | route_group, route_kind, route_name, authz_group, authz_kind, authz_name |
| requests of a route | parent_group, parent_kind, parent_namespace, parent_name, parent_port of the Service that was asked for; route_group, route_kind, route_namespace, route_name; backend_group, backend_kind, backend_namespace, backend_name, backend_port |
| requests of a named route | direction, dst (the Service's authority; inbound none), rt_route (the route of a ServiceProfile, or the name of an HTTPRoute or GRPCRoute) |
| requests that a Server let in | parent_group, parent_kind, parent_name, parent_port of the Server; route_group, route_kind, route_name |

srv_*, route_* and authz_* name the Server of the port, the route of the request, and what let the request in: a ServerAuthorization, an
AuthorizationPolicy, or with the kind "default" an access policy or the kubelet's "probe". Where there is no Server, srv_kind is "default" and
srv_name the port's access policy; where a Server has no routes, route_kind and route_name are "default". What is empty is left out, which is the
same to Prometheus.

Requests of a Service without routes count under route_kind="default", route_name="http". The errors of routes are Linkerd's words:
FAIL_FAST, LOAD_SHED, REQUEST_TIMEOUT, RESPONSE_HEADERS_TIMEOUT, IDLE_TIMEOUT, RESET, REFUSED, IO, CANCEL and UNKNOWN.

tls is one of: true (mesh TLS, with server_id or client_id), no_identity (plaintext, with no_tls_reason), opaque (the application's own
TLS), loopback (within the pod). The series of a peer, an endpoint, a route or a balancer go ten minutes after their last use, the gauges of a
balancer's endpoints at once. The counters of decisions, retries, copies and errors stay, so that rate() sees the first error in a week.

## Formats

The proxy answers in OpenMetrics 1.0 when the Accept header prefers ` + "`application/openmetrics-text`" + ` to ` + "`text/plain`" + `, as that of
Prometheus does, and otherwise in Prometheus's text format 0.0.4. The numbers are the same. In OpenMetrics the bounds of buckets have a point:
le="1.0" instead of le="1". Prometheus 3 stores both as le="1.0"; Prometheus 2 stores what it gets. Only a query that names a bound notices.

With [tracing](tracing.md), each bucket of response_latency_ms, route_response_latency_ms and route_actual_response_latency_ms, and of the
duration_seconds of routes and backends, has in OpenMetrics the last sampled request that fell in it as an exemplar: its trace_id, its latency
or duration and when it ended.

## Bounds

No label is taken from a request: not its authority, path, method, headers or server name. Every other value that
peers and applications can choose is bounded:

| label | who chooses it | bound |
|---|---|---|
| target_addr, target_ip, target_port, srv_port, parent_port of inbound series | a client: it may try every port | the ports that a container declares (containerPort), a Server selects or a probe goes to, and ` + fmt.Sprint(MaxAnswered) + ` more where an application accepted a connection; the others are "other" |
| client_id | a client, among the identities that it can prove | as many as there is room for |
| target_addr, target_ip, target_port of outbound series | the application, for addresses outside the mesh | as many as there is room for |
| authority, dst, dst_*, server_id, parent_*, route_*, backend_*, rt_route | objects in the cluster | as many as there is room for |
| srv_*, authz_*, ratelimit_* | objects in the pod's namespace | as many as there is room for |
| status_code, http_status, status | the application that answers, often for a path that the client chose | with the other labels of a response ` + fmt.Sprint(maxStatuses) + ` combinations a label set; what comes later counts under its class: 2xx, 5xx, 7xx |
| grpc_status | the application that answers | gRPC's 17 codes; what is not one counts as UNKNOWN |
| direction, peer, peer_kind, tls, no_tls_reason, classification, errno, error, reason, action, result, skipped, op, endpoint_state, ratelimit_scope | the proxy | constant words |
| addr | the proxy's settings | one each for destination and identity |

There is room for ` + fmt.Sprint(limits[inboundSide].series) + ` series and ` + fmt.Sprint(limits[inboundSide].bytes>>20) + ` MiB of a scrape inbound, and for ` +
		fmt.Sprint(limits[outboundSide].series) + ` series and ` + fmt.Sprint(limits[outboundSide].bytes>>20) + ` MiB outbound: strangers who call the pod
cannot evict the series of the calls that the pod makes. When a limit is reached, new label sets replace those that have been idle longest.
Label sets with open connections stay. So do those that were used more than once, and within the last one to two minutes. If an evicted
label set comes back, it starts at 0, which Prometheus takes for a restart of the counter. If nothing is idle, new label sets count under
overflow="true", with peer and direction as their only other labels. tulle_metrics_evicted_total and tulle_metrics_overflow_total count both
cases. Alert on the second.

An exemplar's trace_id is 32 hexadecimal digits that a client may choose. It is not a label of a series. A histogram with exemplars takes less than
1 KiB more, and counts as ` + fmt.Sprint(histogramSeries) + ` series. On the scrape, exemplars come on top of the bound: less than 100 bytes a bucket.

## Metrics

| metric | type | meaning | further labels |
|---|---|---|---|
`)
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, f.Help, f.Labels)
	}
	b.WriteString("\nBuckets of the histograms, in milliseconds: ")
	for _, bound := range bounds {
		fmt.Fprintf(&b, "%d, ", bound)
	}
	b.WriteString(
		"and above. Those of requests of routes, in seconds: 0.05, 0.5, 1, 10 and above; of responses: 0.025, 0.05, 0.1, " +
			"0.25, 0.5, 1, 10 and above; of queues: 0.0005, 0.005, 0.05, 0.5, 1, 3 and above.\n")
	return b.String()
}
