package convert

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
)

// destinationRule makes Services of subsets, and annotations of a Service of its traffic policy.
func destinationRule(o *object) []map[string]any {
	spec := o.spec()
	name, namespace, ok := o.service(spec.at("host").text())
	if !ok {
		o.drop("", "%q is no Service of the cluster", spec.at("host").text())
		return nil
	}
	var out []map[string]any
	for _, s := range spec.at("subsets").items() {
		out = append(out, o.subsetManifest(name, namespace, s))
	}
	annotations := o.trafficPolicy(spec.at("trafficPolicy"))
	if len(annotations) == 0 {
		return out
	}
	if svc := o.find("Service", namespace, name); svc != nil {
		return append(out, annotated(manifest("v1", "Service", namespace, name, nil), annotations))
	}
	var settings []string
	for _, k := range keys(annotations) {
		settings = append(settings, fmt.Sprintf("%s=%v", k, annotations[k]))
	}
	o.nearly("spec.trafficPolicy", "the Service is not in the input; annotate it: kubectl annotate service -n %s %s %s",
		orDefault(namespace), name,
		strings.Join(settings, " "))
	return out
}

func orDefault(namespace string) string {
	if namespace == "" {
		return "default"
	}
	return namespace
}

// subsetManifest is a Service that selects the pods of a subset, with the ports of the Service that it is a part of.
func (o *object) subsetManifest(host, namespace string, s node) map[string]any {
	selector := map[string]any{}
	if labels, ok := s.at("labels").raw().(map[string]any); ok {
		maps.Copy(selector, labels)
	}
	ports := []any{map[string]any{"port": o.options.Port}}
	if svc := o.find("Service", namespace, host); svc != nil {
		spec, _ := svc["spec"].(map[string]any)
		if base, ok := spec["selector"].(map[string]any); ok {
			for k, v := range base {
				if _, ok := selector[k]; !ok {
					selector[k] = v
				}
			}
		}
		if list, ok := spec["ports"].([]any); ok {
			ports = list
		}
	} else {
		o.assumePort(s)
		s.nearly("add the labels of Service %s's own selector, which is not in the input", host)
	}
	name := subsetService(host, s.at("name").text())
	o.became(s.path, "Service %s", name)
	s.at("trafficPolicy").drop("annotate Service %s instead", name)
	return manifest("v1", "Service", namespace, name, map[string]any{"selector": selector, "ports": ports})
}

// trafficPolicy converts outlier detection; the rest is how the proxy works anyway, or cannot be chosen.
func (o *object) trafficPolicy(n node) map[string]any {
	out := map[string]any{}
	if d := n.at("outlierDetection"); d.exists() {
		out["balancer.linkerd.io/failure-accrual"] = "consecutive"
		o.became(d.path, "annotations balancer.linkerd.io/failure-accrual* of the Service")
		for _, k := range []string{"consecutive5xxErrors", "consecutiveGatewayErrors", "consecutiveErrors"} {
			if v := d.at(k); v.exists() {
				out["balancer.linkerd.io/failure-accrual-consecutive-max-failures"] = v.text()
			}
		}
		if v := d.at("baseEjectionTime"); v.exists() {
			out["balancer.linkerd.io/failure-accrual-consecutive-min-penalty"] = v.duration()
		}
		d.at("interval").drop("failures are seen as they happen")
		d.at("maxEjectionPercent").drop("at most half of the endpoints are ejected")
		d.at("minHealthPercent").drop("at most half of the endpoints are ejected")
	}
	if mode := n.at("tls", "mode"); mode.exists() {
		if mode.text() == "ISTIO_MUTUAL" {
			o.became(mode.path, "mutual TLS is always on between meshed pods")
		} else {
			mode.drop("an application's own TLS is passed through as it is")
		}
	}
	n.at("loadBalancer").drop("requests go to the less loaded of two endpoints, by latency")
	n.at("connectionPool").drop("queues and connections are bounded by the proxy itself")
	n.at("portLevelSettings").drop("one policy holds for all ports of a Service")
	return out
}

// envoyFilter knows one use of EnvoyFilter, the local rate limit that tutorials show.
func envoyFilter(o *object) []map[string]any {
	for _, patch := range o.spec().at("configPatches").items() {
		value := patch.at("patch", "value")
		if value.at("name").text() != "envoy.filters.http.local_ratelimit" {
			continue
		}
		config := value.at("typed_config")
		if config.at("value").exists() {
			config = config.at("value")
		}
		return o.rateLimit(config.at("token_bucket"))
	}
	o.drop("", "the proxy has no Envoy to patch: use HTTPRoute filters, the route's annotations or the policy kinds")
	return nil
}

// rateLimit makes an HTTPLocalRateLimitPolicy of a token bucket.
func (o *object) rateLimit(bucket node) []map[string]any {
	perSecond, ok := bucketRate(bucket)
	if !ok {
		o.drop("", "the token bucket says no rate: write an HTTPLocalRateLimitPolicy")
		return nil
	}
	o.spec().done()
	perSecond = math.Round(perSecond*1000) / 1000
	bucket.nearly("%v requests a second, for one proxy; a second's worth may come at once, whatever the bucket holds",
		perSecond)
	labels := o.spec().at("workloadSelector", "labels").raw()
	numbers, names := o.targetPorts(labels)
	ports := append(numbers, names...)
	if len(ports) == 0 {
		o.assumePort(o.spec())
		ports = []string{strconv.Itoa(o.options.Port)}
	}
	access := "all-unauthenticated"
	switch {
	case o.closed(labels): // a Server comes before the namespace's annotation, and would let everybody in
		access = "deny"
	case o.mutual(labels):
		access = "all-authenticated"
	}
	var out []map[string]any
	for _, port := range ports {
		name := o.name
		if len(ports) > 1 {
			name = o.name + "-" + port
		}
		server, made := o.server(labels, port, name, access)
		out = append(append(out, made...),
			manifest(policyAlpha, "HTTPLocalRateLimitPolicy", o.namespace, name, map[string]any{
				"targetRef": map[string]any{"group": "policy.linkerd.io", "kind": "Server", "name": server},
				"total":     map[string]any{"requestsPerSecond": perSecond},
			}))
	}
	return out
}

// telemetry says where its parts are here.
func telemetry(o *object) []map[string]any {
	o.spec().at("accessLogging").drop("annotate pods or namespaces: config.linkerd.io/access-log: json")
	o.spec().at("metrics").drop("the metrics have fixed names and labels: docs/metrics.md")
	o.spec().at("tracing").drop("`tulle install --set proxy.tracing.enabled=true` (docs/tracing.md)")
	return nil
}

// serviceMonitor rewrites the one that watches Istio's control plane.
func serviceMonitor(o *object) []map[string]any {
	if o.spec().at("selector", "matchLabels", "istio").text() == "" {
		o.spec().done()
		o.unchanged("", "passed on as it is")
		return []map[string]any{o.tree}
	}
	interval := o.spec().at("endpoints").items()
	endpoint := map[string]any{"port": "admin"}
	for _, e := range interval {
		if i := e.at("interval"); i.exists() {
			endpoint["interval"] = i.text()
		}
	}
	o.spec().done()
	o.became("", "PodMonitor of the control plane")
	return []map[string]any{manifest("monitoring.coreos.com/v1", "PodMonitor", "tulle", o.name, map[string]any{
		"selector": map[string]any{"matchExpressions": []any{
			map[string]any{"key": "linkerd.io/control-plane-component", "operator": "Exists"},
		}},
		"podMetricsEndpoints": []any{endpoint},
	})}
}

// collector warns of an exporter that OpenTelemetry's collector no longer has.
func collector(o *object) []map[string]any {
	config := o.spec().at("config")
	if s, ok := config.v.(string); ok && strings.Contains(s, "jaeger:") || config.at("exporters", "jaeger").exists() {
		o.unchanged(config.path, "not the mesh's, passed on; but the collector's exporter jaeger was removed: send to the "+
			"same host with exporter otlp, port 4317")
	} else {
		o.unchanged("", "not the mesh's, passed on as it is")
	}
	o.spec().done()
	return []map[string]any{o.tree}
}
