package main

import (
	"fmt"
	"strings"
)

// boards are the dashboards, in the order of the menu.
var boards = []board{topLine, namespace, workload, service, route, authorization, health}

// owners are the labels that name a pod's workload: each series has one of them.
const owners = "namespace, deployment, statefulset, daemonset, replicaset, k8s_job"

// ofOwner is a series' name in a legend: labels that it lacks are empty.
const ofOwner = "{{deployment}}{{statefulset}}{{daemonset}}{{replicaset}}{{k8s_job}}"

// rate is the sum of the rates of a counter's series, a second, by labels.
func rate(counter, by string) string {
	if by == "" {
		return fmt.Sprintf("sum(rate(%s[$__rate_interval]))", counter)
	}
	return fmt.Sprintf("sum by (%s) (rate(%s[$__rate_interval]))", by, counter)
}

// success is the share of responses that were successful. The counter has the label classification.
func success(counter, selector, by string) string {
	return rate(counter+`{classification="success", `+selector+`}`, by) + " / " + rate(counter+`{`+selector+`}`, by)
}

// latency is a quantile of a histogram, by labels.
func latency(quantile, histogram, selector, by string) string {
	return fmt.Sprintf("histogram_quantile(%s, %s)", quantile,
		rate(histogram+"_bucket{"+selector+"}", strings.TrimSuffix("le, "+by, ", ")))
}

// milliseconds is a latency of a histogram in seconds.
func milliseconds(quantile, histogram, selector, by string) string {
	return "1000 * " + latency(quantile, histogram, selector, by)
}

// quantiles are three lines of a panel.
func quantiles(of func(quantile, histogram, selector, by string) string, histogram, selector string) []query {
	return []query{
		q(of("0.5", histogram, selector, ""), "p50"),
		q(of("0.95", histogram, selector, ""), "p95"),
		q(of("0.99", histogram, selector, ""), "p99"),
	}
}

const (
	percent = "percentunit"
	rps     = "reqps"
	ms      = "ms"
	count   = "short"
	bytesps = "Bps"
	seconds = "s"
)

var anyNamespace = choose("namespace", "namespace", `request_total{direction="inbound"}`)

var topLine = board{
	name: "top-line", title: "Top line", description: "How the whole mesh is doing, and which namespace to look at.",
	rows: []row{
		{"The mesh", []panel{
			stat("Success rate", percent, "Share of responses that were successful, as the servers' proxies count them.",
				success("response_total", `direction="inbound"`, "")),
			stat("Requests", rps, "Requests a second that arrived at meshed pods.",
				rate(`request_total{direction="inbound"}`, "")),
			stat("Latency p99", ms, "99 of 100 responses began within this time.",
				latency("0.99", "response_latency_ms", `direction="inbound"`, "")),
			stat("Mesh TLS", percent, "Share of requests that came over mTLS, from a client with an identity.",
				rate(`request_total{direction="inbound", tls="true"}`, "")+" / "+
					rate(`request_total{direction="inbound"}`, "")),
			stat("Proxies", count, "Proxies that Prometheus reaches.", `count(process_start_time_seconds)`),
			stat("Namespaces", count, "Namespaces whose pods get requests.",
				`count(count by (namespace) (request_total{direction="inbound"}))`),
		}},
		{"Namespaces", []panel{
			graph("Success rate", percent, "Share of the responses of a namespace's pods that were successful.",
				q(success("response_total", `direction="inbound"`, "namespace"), "{{namespace}}")),
			graph("Requests", rps, "Requests a second that arrived at a namespace's pods.",
				q(rate(`request_total{direction="inbound"}`, "namespace"), "{{namespace}}")),
			graph("Latency p95", ms, "95 of 100 responses of a namespace's pods began within this time.",
				q(latency("0.95", "response_latency_ms", `direction="inbound"`, "namespace"), "{{namespace}}")),
			table("Namespaces", "The last value of each. The name leads to the namespace's dashboard.",
				map[string]string{"namespace": "namespace"},
				query{success("response_total", `direction="inbound"`, "namespace"), "Success rate", percent},
				query{rate(`request_total{direction="inbound"}`, "namespace"), "Requests", rps},
				query{latency("0.5", "response_latency_ms", `direction="inbound"`, "namespace"), "p50", ms},
				query{latency("0.99", "response_latency_ms", `direction="inbound"`, "namespace"), "p99", ms},
				query{`sum by (namespace) (tcp_open_connections{direction="inbound", peer="src"})`, "Connections", count}),
		}},
	},
}

const inNamespace = `direction="inbound", namespace=~"$namespace"`

var namespace = board{
	name: "namespace", title: "Namespace", description: "The workloads of a namespace, side by side.",
	variables: []object{anyNamespace},
	rows: []row{
		{"Requests to the namespace", []panel{
			stat("Success rate", percent, "Share of responses that were successful.",
				success("response_total", inNamespace, "")),
			stat("Requests", rps, "Requests a second.", rate(`request_total{`+inNamespace+`}`, "")),
			stat("Latency p99", ms, "99 of 100 responses began within this time.",
				latency("0.99", "response_latency_ms", inNamespace, "")),
			stat("Mesh TLS", percent, "Share of requests that came over mTLS, from a client with an identity.",
				rate(`request_total{tls="true", `+inNamespace+`}`, "")+" / "+rate(`request_total{`+inNamespace+`}`, "")),
			stat("Open connections", count, "Connections of clients to pods.",
				`sum(tcp_open_connections{peer="src", `+inNamespace+`})`),
			stat("Proxies", count, "Proxies that Prometheus reaches.",
				`count(process_start_time_seconds{namespace=~"$namespace"})`),
		}},
		{"Workloads", []panel{
			graph("Success rate", percent, "Share of a workload's responses that were successful.",
				q(success("response_total", inNamespace, owners), ofOwner)),
			graph("Requests", rps, "Requests a second to a workload.",
				q(rate(`request_total{`+inNamespace+`}`, owners), ofOwner)),
			graph("Latency p95", ms, "95 of 100 responses of a workload began within this time.",
				q(latency("0.95", "response_latency_ms", inNamespace, owners), ofOwner)),
			graph("Requests without mesh TLS", rps, "Requests a second from clients that proved no identity.",
				q(rate(`request_total{tls!="true", `+inNamespace+`}`, owners), ofOwner)),
			graph("Bytes from clients", bytesps, "Bytes a second that clients sent, above TLS.",
				q(rate(`tcp_read_bytes_total{peer="src", `+inNamespace+`}`, owners), ofOwner)),
			graph("Bytes to clients", bytesps, "Bytes a second that clients got, above TLS.",
				q(rate(`tcp_write_bytes_total{peer="src", `+inNamespace+`}`, owners), ofOwner)),
			table("Workloads", "The last value of each.", nil,
				query{success("response_total", inNamespace, owners), "Success rate", percent},
				query{rate(`request_total{`+inNamespace+`}`, owners), "Requests", rps},
				query{latency("0.5", "response_latency_ms", inNamespace, owners), "p50", ms},
				query{latency("0.99", "response_latency_ms", inNamespace, owners), "p99", ms}),
		}},
	},
}

// ofWorkload chooses pods. The kind is a label, and so is the target's with dst_ before it.
const (
	ofWorkload     = `namespace=~"$namespace", $kind=~"$workload"`
	toWorkload     = `direction="inbound", ` + ofWorkload
	fromWorkload   = `direction="outbound", ` + ofWorkload
	byTarget       = "dst_namespace, dst_service"
	targetLegend   = "{{dst_service}}.{{dst_namespace}}"
	identityLegend = "{{client_id}}"
)

var workload = board{
	name: "workload", title: "Workload",
	description: "A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job: what it serves, whom it calls, and its pods.",
	variables: []object{
		anyNamespace,
		oneOf("kind", "deployment", "statefulset", "daemonset", "replicaset", "k8s_job"),
		choose("workload", "$kind", `process_start_time_seconds{namespace=~"$namespace", $kind!=""}`),
	},
	rows: []row{
		{"Inbound: what it serves", []panel{
			graph("Success rate", percent, "Share of its responses that were successful.",
				q(success("response_total", toWorkload, "$kind"), "{{$kind}}")),
			graph("Requests by client", rps, "Requests a second by the identity that the client proved.",
				q(rate(`request_total{`+toWorkload+`}`, "client_id"), identityLegend)),
			graph("Latency", ms, "Time from a request to the first byte of the response.",
				quantiles(latency, "response_latency_ms", toWorkload)...),
		}},
		{"Outbound: whom it calls", []panel{
			graph("Success rate by Service", percent, "Share of successful responses of each Service that it calls.",
				q(success("response_total", `dst_service!="", `+fromWorkload, byTarget), targetLegend)),
			graph("Requests by Service", rps, "Requests a second to each Service.",
				q(rate(`request_total{dst_service!="", `+fromWorkload+`}`, byTarget), targetLegend)),
			graph("Latency p95 by Service", ms, "95 of 100 responses of a Service began within this time, network included.",
				q(latency("0.95", "response_latency_ms", `dst_service!="", `+fromWorkload, byTarget), targetLegend)),
		}},
		{"Pods", []panel{
			graph("Success rate", percent, "Share of a pod's responses that were successful.",
				q(success("response_total", toWorkload, "pod"), "{{pod}}")),
			graph("Requests", rps, "Requests a second to a pod.", q(rate(`request_total{`+toWorkload+`}`, "pod"), "{{pod}}")),
			graph("Latency p95", ms, "95 of 100 responses of a pod began within this time.",
				q(latency("0.95", "response_latency_ms", toWorkload, "pod"), "{{pod}}")),
		}},
		{"Connections", []panel{
			graph("Open", count, "Open connections by direction; src is who connects, dst is whom the proxy connects to.",
				q(`sum by (direction, peer) (tcp_open_connections{`+ofWorkload+`})`, "{{direction}} {{peer}}")),
			graph("Bytes read", bytesps, "Bytes a second that the proxies read, above TLS.",
				q(rate(`tcp_read_bytes_total{`+ofWorkload+`}`, "direction, peer"), "{{direction}} {{peer}}")),
			graph("Bytes written", bytesps, "Bytes a second that the proxies wrote, above TLS.",
				q(rate(`tcp_write_bytes_total{`+ofWorkload+`}`, "direction, peer"), "{{direction}} {{peer}}")),
			graph("Life p95", ms, "95 of 100 connections that were closed had lived no longer.",
				q(latency("0.95", "tcp_connection_duration_ms", ofWorkload, "direction"), "{{direction}}")),
			graph("Closed", "cps", "Connections closed a second; without an errno the end was orderly.",
				q(rate(`tcp_close_total{`+ofWorkload+`}`, "direction, peer, errno"), "{{direction}} {{peer}} {{errno}}")),
		}},
		{"Proxies", []panel{
			graph("CPU", "none", "Cores that the proxies use.",
				q(rate(`process_cpu_seconds_total{`+ofWorkload+`}`, "pod"), "{{pod}}")),
			graph("Memory", "bytes", "Resident memory of the proxies.",
				q(`sum by (pod) (process_resident_memory_bytes{`+ofWorkload+`})`, "{{pod}}")),
			graph("Certificate", seconds, "Time until the proxy's certificate ends. It is renewed after half of its life.",
				q(`min by (pod) (control_identity_cert_expiration_timestamp_seconds{`+ofWorkload+`}) - time()`, "{{pod}}")),
		}},
	},
}
