package main

const (
	toService   = `direction="outbound", dst_namespace=~"$namespace", dst_service=~"$service"`
	ofService   = `parent_kind="Service", parent_namespace=~"$namespace", parent_name=~"$service"`
	ofRoute     = ofService + `, route_name=~"$route"`
	routeLegend = "{{parent_name}} {{route_name}}"
	byRoute     = "parent_name, route_name"
	byBackend   = "backend_namespace, backend_name"
	backend     = "{{backend_name}}.{{backend_namespace}}"
)

var (
	serviceNamespace = choose("namespace", "dst_namespace", `request_total{direction="outbound", dst_service!=""}`)
	serviceName      = choose("service", "dst_service",
		`request_total{direction="outbound", dst_namespace=~"$namespace"}`)
)

var service = board{
	name: "service", title: "Service",
	description: "A Service as its clients see it: the numbers are those of the clients' proxies, network included.",
	variables:   []object{serviceNamespace, serviceName},
	rows: []row{
		{"Requests", []panel{
			graph("Success rate by client", percent, "Share of the responses to each client that were successful.",
				q(success("response_total", toService, owners), ofOwner)),
			graph("Requests by client", rps, "Requests a second of each client.",
				q(rate(`request_total{`+toService+`}`, owners), ofOwner)),
			graph("Latency", ms, "Time from a request to the first byte of the response, network included.",
				quantiles(latency, "response_latency_ms", toService)...),
			graph("Responses by status", rps, "Responses a second by HTTP status.",
				q(rate(`response_total{`+toService+`}`, "status_code"), "{{status_code}}")),
			graph("Requests by pod", rps, "Requests a second that each pod of the Service gets.",
				q(rate(`request_total{dst_pod!="", `+toService+`}`, "dst_pod"), "{{dst_pod}}")),
			graph("Requests without mesh TLS", rps, "Requests a second that are not encrypted by the mesh, and why.",
				q(rate(`request_total{tls!="true", `+toService+`}`, "no_tls_reason"), "{{no_tls_reason}}")),
		}},
		{"Backends", []panel{
			graph("Requests by backend", rps, "Attempts a second that were sent to each backend of the routes.",
				q(rate(`outbound_http_route_backend_requests_total{`+ofService+`}`, byBackend), backend)),
			graph("Statuses by backend", rps, "Responses a second of each backend, by HTTP status.",
				q(rate(`outbound_http_route_backend_response_statuses_total{`+ofService+`}`, byBackend+", http_status"),
					backend+" {{http_status}}")),
			graph("Latency p95 by backend", ms, "From the end of a request to the end of the response, at most, for 95 of 100.",
				q(milliseconds("0.95", "outbound_http_route_backend_response_duration_seconds", ofService, byBackend), backend)),
		}},
		{"Endpoints", []panel{
			graph("Endpoints", count, "Endpoints by state. Pending ones cannot be reached or failed too often.",
				q(`max by (backend_name, endpoint_state) (outbound_http_balancer_endpoints{`+ofService+`})`,
					"{{backend_name}} {{endpoint_state}}")),
			graph("Ejected endpoints", count, "Endpoints that failed too often, in the client that ejected most.",
				q(`max by (backend_name) (tulle_balancer_endpoints_ejected{`+ofService+`})`, "{{backend_name}}")),
			graph("Waiting requests", count, "Requests of all clients that wait for an endpoint.",
				q(`sum by (backend_name) (outbound_http_balancer_queue_length{`+ofService+`})`, "{{backend_name}}")),
			graph("Wait for an endpoint p99", ms, "99 of 100 requests waited no longer for an endpoint.",
				q(milliseconds("0.99", "outbound_http_balancer_queue_latency_seconds", ofService, "backend_name"),
					"{{backend_name}}")),
			graph("Changes of endpoints", "cps", "Changes a second of the endpoints, in all clients.",
				q(rate(`outbound_http_balancer_p2c_updates_total{`+ofService+`}`, "backend_name, op"),
					"{{backend_name}} {{op}}")),
			graph("Endpoints for connections", count, "The same as Endpoints, for protocols other than HTTP.",
				q(`max by (backend_name, endpoint_state) (outbound_tcp_balancer_endpoints{`+ofService+`})`,
					"{{backend_name}} {{endpoint_state}}")),
		}},
	},
}

// named chooses the series of named routes: those of ServiceProfiles, HTTPRoutes and GRPCRoutes.
const named = `direction="outbound", rt_route!=""`

var route = board{
	name: "route", title: "Route",
	description: "The routes of a Service, at its clients: traffic, faults, retries and backends; and those of Servers.",
	variables: []object{serviceNamespace, serviceName,
		choose("route", "route_name", `outbound_http_route_request_statuses_total{`+ofService+`}`)},
	rows: []row{
		{"HTTPRoutes", []panel{
			graph("Requests", rps, "Requests a second that matched each route.",
				q(rate(`outbound_http_route_request_statuses_total{`+ofRoute+`}`, byRoute), routeLegend)),
			graph("Share without 5xx", percent, "Share of requests that did not end with a status of 500 or above.",
				q(rate(`outbound_http_route_request_statuses_total{http_status!~"5..|", `+ofRoute+`}`, byRoute)+" / "+
					rate(`outbound_http_route_request_statuses_total{`+ofRoute+`}`, byRoute), routeLegend)),
			graph("Duration", ms, "From the head of a request to the end of its response. Buckets: 50, 500, 1000, 10000 ms.",
				quantiles(milliseconds, "outbound_http_route_request_duration_seconds", ofRoute)...),
			graph("Statuses", rps, "Requests a second by status; error is set if the proxy answered itself.",
				q(rate(`outbound_http_route_request_statuses_total{`+ofRoute+`}`, byRoute+", http_status, error"),
					routeLegend+" {{http_status}} {{error}}")),
			graph("Backends", rps, "Attempts a second by backend.",
				q(rate(`outbound_http_route_backend_requests_total{`+ofRoute+`}`, byRoute+", "+byBackend),
					"{{route_name}} → "+backend)),
			graph("Retries", rps, "Retries a second, and requests that succeeded after one.",
				q(rate(`outbound_http_route_retry_requests_total{`+ofRoute+`}`, byRoute), routeLegend+" retries"),
				q(rate(`outbound_http_route_retry_successes_total{`+ofRoute+`}`, byRoute), routeLegend+" successes"),
				q(rate(`outbound_http_route_retry_limit_exceeded_total{`+ofRoute+`}`, byRoute), routeLegend+" gave up"),
				q(rate(`outbound_http_route_retry_overflow_total{`+ofRoute+`}`, byRoute), routeLegend+" over the budget")),
		}},
		{"GRPCRoutes", []panel{
			graph("Requests by status", rps, "Calls a second by gRPC status; error is set if the proxy answered itself.",
				q(rate(`outbound_grpc_route_request_statuses_total{`+ofRoute+`}`, byRoute+", grpc_status, error"),
					routeLegend+" {{grpc_status}} {{error}}")),
			graph("Duration p95", ms, "95 of 100 calls ended within this time.",
				q(milliseconds("0.95", "outbound_grpc_route_request_duration_seconds", ofRoute, byRoute), routeLegend)),
			graph("Backends", rps, "Attempts a second by backend.",
				q(rate(`outbound_grpc_route_backend_requests_total{`+ofRoute+`}`, byRoute+", "+byBackend),
					"{{route_name}} → "+backend)),
		}},
		{"Named routes, those of ServiceProfiles too", []panel{
			graph("Effective success rate", percent, "Share of requests that ended well, retries included.",
				q(success("route_response_total", named, "dst, rt_route"), "{{dst}} {{rt_route}}")),
			graph("Actual success rate", percent, "Share of attempts that ended well, each retry on its own.",
				q(success("route_actual_response_total", named, "dst, rt_route"), "{{dst}} {{rt_route}}")),
			graph("Requests", rps, "Requests and attempts a second. The difference is the retries.",
				q(rate(`route_request_total{`+named+`}`, "dst, rt_route"), "{{dst}} {{rt_route}}"),
				q(rate(`route_actual_request_total{`+named+`}`, "dst, rt_route"), "{{dst}} {{rt_route}} attempts")),
			graph("Latency p95", ms, "95 of 100 responses began within this time, retries included.",
				q(latency("0.95", "route_response_latency_ms", named, "dst, rt_route"), "{{dst}} {{rt_route}}")),
		}},
		{"Routes of Servers in the namespace, at the servers", []panel{
			graph("Requests", rps, "Requests a second that policy let in, by Server and route.",
				q(rate(`inbound_http_requests_total{namespace=~"$namespace"}`, byRoute), routeLegend)),
			graph("Statuses", rps, "How those ended.",
				q(rate(`inbound_http_statuses_total{namespace=~"$namespace"}`, byRoute+", status"), routeLegend+" {{status}}")),
			graph("Duration p95", ms, "95 of 100 of those requests ended within this time.",
				q(milliseconds("0.95", "inbound_http_request_duration_seconds", `namespace=~"$namespace"`, byRoute),
					routeLegend)),
		}},
	},
}
