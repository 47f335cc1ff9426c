package main

const (
	ofServer     = `namespace=~"$namespace", srv_name=~"$server"`
	serverLegend = "{{srv_kind}} {{srv_name}}"
	byServer     = "srv_kind, srv_name"
)

var authorization = board{
	name: "authorization", title: "Authorization",
	description: "Who is let in, by which policy, and who is not.",
	variables: []object{anyNamespace,
		choose("server", "srv_name", `inbound_http_authz_allow_total{namespace=~"$namespace"}`)},
	rows: []row{
		{"Requests", []panel{
			graph("Allowed, by authorization", rps, "Requests a second that each policy let in. Kind default: an access policy.",
				q(rate(`inbound_http_authz_allow_total{`+ofServer+`}`, byServer+", route_name, authz_kind, authz_name"),
					serverLegend+" {{route_name}} ← {{authz_kind}} {{authz_name}}")),
			graph("Denied", rps, "Requests a second that no policy let in, by route and reason.",
				q(rate(`inbound_http_authz_deny_total{`+ofServer+`}`, byServer+", route_name, reason"),
					serverLegend+" {{route_name}} {{reason}}")),
			graph("Share denied", percent, "Share of the requests to a Server that were denied.",
				q(rate(`inbound_http_authz_deny_total{`+ofServer+`}`, byServer)+" / ("+
					rate(`inbound_http_authz_deny_total{`+ofServer+`}`, byServer)+" + "+
					rate(`inbound_http_authz_allow_total{`+ofServer+`}`, byServer)+")", serverLegend)),
			graph("No route", rps, "Requests a second that match no route of their Server.",
				q(rate(`inbound_http_route_not_found_total{`+ofServer+`}`, byServer), serverLegend)),
			graph("Over a rate limit", rps, "Requests a second that a rate limit refused, by limit and scope.",
				q(rate(`inbound_http_local_ratelimit_total{`+ofServer+`}`, "ratelimit_name, ratelimit_scope"),
					"{{ratelimit_name}} {{ratelimit_scope}}")),
		}},
		{"Connections", []panel{
			graph("Allowed, by authorization", "cps", "Connections a second that each policy let in.",
				q(rate(`inbound_tcp_authz_allow_total{`+ofServer+`}`, byServer+", authz_kind, authz_name"),
					serverLegend+" ← {{authz_kind}} {{authz_name}}")),
			graph("Denied", "cps", "Connections a second that no policy let in.",
				q(rate(`inbound_tcp_authz_deny_total{`+ofServer+`}`, byServer+", reason"), serverLegend+" {{reason}}")),
			graph("Ended", "cps", "Open connections a second that were reset because policy no longer allows them.",
				q(rate(`inbound_tcp_authz_terminate_total{`+ofServer+`}`, byServer+", reason"), serverLegend+" {{reason}}")),
		}},
		{"Clients", []panel{
			graph("Requests by identity", rps, "Requests a second by the identity that the client proved.",
				q(rate(`request_total{direction="inbound", client_id!="", `+ofServer+`}`, "client_id"), "{{client_id}}")),
			graph("Requests without identity", rps,
				"Requests a second without mesh TLS. A policy that asks for identities denies them.",
				q(rate(`request_total{direction="inbound", tls!="true", `+ofServer+`}`, owners+", no_tls_reason"),
					ofOwner+" {{no_tls_reason}}")),
			graph("Mesh TLS", percent, "Share of the requests that came over mTLS, by workload.",
				q(rate(`request_total{direction="inbound", tls="true", `+ofServer+`}`, owners)+" / "+
					rate(`request_total{direction="inbound", `+ofServer+`}`, owners), ofOwner)),
		}},
	},
}

const controlJob = `job="linkerd-controller"`

var health = board{
	name: "mesh-health", title: "Mesh health",
	description: "The control plane, certificates and the proxies. docs/alerts.md says what to do.",
	rows: []row{
		{"Certificates", []panel{
			stat("Trust anchor ends in", seconds, "Time until the first trust anchor ends.",
				`min(tulle_identity_trust_anchor_expiration_timestamp_seconds > 0) - time()`),
			stat("Issuer ends in", seconds, "Time until the issuer's certificate ends.",
				`min(tulle_identity_issuer_expiration_timestamp_seconds > 0) - time()`),
			stat("Injector's certificate ends in", seconds, "Time until the certificate of the webhook ends.",
				`min(tulle_inject_certificate_expiration_timestamp_seconds > 0) - time()`),
			stat("First proxy certificate ends in", seconds, "Time until the first certificate of a proxy ends.",
				`min(control_identity_cert_expiration_timestamp_seconds) - time()`),
			stat("Trust anchors", count, "Trust anchors in the bundle: two while one replaces the other.",
				`max(tulle_identity_trust_anchors)`),
			stat("Issued", "cps", "Certificates a second.", rate(`tulle_identity_certificates_issued_total`, "")),
			graph("Refused certificates", "cps", "Requests for a certificate that were refused, by reason.",
				q(rate(`tulle_identity_refusals_total`, "reason"), "{{reason}}")),
			graph("Renewals of proxies", "cps", "Attempts of proxies to get a certificate, by result.",
				q(rate(`control_identity_cert_refreshes_total`, "result"), "{{result}}")),
			graph("Changes of the authority", "cps", "Changes of issuer and anchors, taken or refused.",
				q(rate(`tulle_identity_authority_changes_total`, "reason"), "{{reason}}")),
		}},
		{"Control plane", []panel{
			graph("Replicas", count, "Replicas of each component that Prometheus reaches.",
				q(`sum by (component) (up{`+controlJob+`})`, "{{component}}")),
			graph("Leaders", count, "Replicas that lead: one of each.",
				q(`sum(tulle_kube_leading)`, "destination"), q(`sum(tulle_identity_leader)`, "identity")),
			graph("Failed requests to the API server", rps, "Requests of the destination controller that failed, by status.",
				q(rate(`tulle_kube_request_failures_total`, "status"), "{{status}}")),
			graph("CPU", "none", "Cores that each component uses.",
				q(rate(`process_cpu_seconds_total{`+controlJob+`}`, "component"), "{{component}}")),
			graph("Memory", "bytes", "Resident memory of the largest replica of each component.",
				q(`max by (component) (process_resident_memory_bytes{`+controlJob+`})`, "{{component}}")),
			graph("Goroutines", count, "Goroutines of the busiest replica of each component.",
				q(`max by (component) (go_goroutines{`+controlJob+`})`, "{{component}}")),
		}},
		{"Discovery and policy", []panel{
			graph("Connected proxies", count, "Streams of proxies to the destination controller.",
				q(`sum(tulle_discovery_streams)`, "streams"),
				q(`sum(control_connected)`, "as the proxies say")),
			graph("Silence", seconds, "For how long the proxy that waits longest has not heard of the control plane; 0 is well.",
				q(`max by (namespace) (tulle_control_stale_seconds)`, "{{namespace}}")),
			graph("Answers p99", ms, "99 of 100 answers of the control plane to proxies came within this time.",
				q(latency("0.99", "control_response_latency_ms", "", "server_id"), "{{server_id}}")),
			graph("Failed questions of proxies", rps, "Questions to the control plane without an answer, by gRPC status.",
				q(rate(`control_response_total{classification="failure"}`, "server_id, grpc_status"),
					"{{server_id}} {{grpc_status}}")),
			graph("Values sent", "cps", "Values a second that the destination controller sends to proxies, by kind.",
				q(rate(`tulle_discovery_values_sent_total`, "kind"), "{{kind}}")),
			graph("Values at proxies", "cps", "Values a second that arrive at proxies. Refused ones make no sense to a proxy.",
				q(rate(`tulle_control_values_total`, "result"), "{{result}}")),
			graph("Mistakes", "cps", "Annotations and fields with mistakes, and objects that cannot be decoded.",
				q(rate(`tulle_destination_problems_total`, "field"), "{{field}}"),
				q(rate(`tulle_kube_decode_failures_total`, "group, kind"), "{{kind}}.{{group}}")),
			graph("Missing definitions", count, "Kinds whose CustomResourceDefinition is gone; their last objects stay active.",
				q(`max by (group, kind) (tulle_kube_kind_missing) > 0`, "{{kind}}.{{group}}")),
			graph("Statuses to write", count, "Objects whose status waits to be compared or written.",
				q(`max(tulle_kube_status_backlog)`, "objects")),
		}},
		{"Injection", []panel{
			graph("Reviews", rps, "Pods and Services that the injector reviewed, by outcome.",
				q(rate(`proxy_inject_admission_responses_total`, "skip, skip_reason"), "skipped: {{skip}} {{skip_reason}}")),
			graph("Refused objects", rps, "Pods that the injector refused because of a mistake in them.",
				q(rate(`tulle_inject_denials_total`, "reason"), "{{reason}}")),
			graph("Failures", rps, "Reviews without an answer, and other work that failed.",
				q(rate(`tulle_inject_request_errors_total`, "reason"), "review: {{reason}}"),
				q(rate(`tulle_inject_failures_total`, "task"), "task: {{task}}")),
		}},
		{"Proxies", []panel{
			graph("Versions", count, "Proxies by version: two during a rollout.",
				q(`count by (version) (proxy_build_info)`, "{{version}}")),
			graph("CPU by namespace", "none", "Cores that the proxies of a namespace use.",
				q(rate(`process_cpu_seconds_total{job="linkerd-proxy"}`, "namespace"), "{{namespace}}")),
			graph("Memory by namespace", "bytes", "Resident memory of the largest proxy of a namespace.",
				q(`max by (namespace) (process_resident_memory_bytes{job="linkerd-proxy"})`, "{{namespace}}")),
			graph("Failed requests by the proxy", rps, "Requests that proxies answered in an application's place, and why.",
				q(rate(`inbound_http_errors_total`, "error, reason"), "inbound {{error}} {{reason}}"),
				q(rate(`outbound_http_errors_total`, "error, reason"), "outbound {{error}} {{reason}}")),
			graph("Failed connections", "cps", "Connections that proxies failed, and why.",
				q(rate(`inbound_tcp_errors_total`, "error"), "inbound {{error}}"),
				q(rate(`outbound_tcp_errors_total`, "error"), "outbound {{error}}")),
			graph("Lost", "cps", "Series that have no room, and lines of logs that nobody read in time.",
				q(rate(`tulle_metrics_overflow_total`, "family"), "{{family}}"),
				q(rate(`tulle_log_lines_lost_total`, ""), "log lines")),
		}},
	},
}
