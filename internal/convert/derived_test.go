package convert

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/crds/crdtest"
)

// Parts of manifests for derivedCases.
const (
	webService = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 8080}]}
---`
	webSubsets = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
---`
	toSubset = serviceHead + "spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}\n"
	toHost   = serviceHead + "spec: {hosts: [web], http: [{route: [{destination: {host: %s}}]}]}\n"
	limited  = `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: %s}
spec:
  %s
  configPatches:
  - patch:
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config: {value: {token_bucket: {max_tokens: 10, tokens_per_fill: 10, fill_interval: 1s}}}
`
	split = `
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: web, namespace: shop}
spec: {service: %s, backends: [{service: web-v1, weight: %s}]%s}
`
)

// TestNothingIsGuessed lists, kind by kind, what convert would have to derive from an object that is not in the input. It derives nothing
// that chooses pods, clients or destinations: the object is left out, and the report says what to add. With it the object is written.
func TestNothingIsGuessed(t *testing.T) {
	for _, c := range []struct {
		name, in string
		made     []string // kind/name of what comes out, besides what is passed on
		dropped  string   // part of the message; "" for nothing dropped
	}{
		{"a subset of a Service", webService + webSubsets, []string{"Service/web-v1"}, ""},
		{"a subset without its Service", webSubsets, nil, "add it to the files: kubectl get service -n shop web -o yaml"},
		{"a subset of a Service in another namespace", strings.Replace(webService, "shop", "bank", 1) + webSubsets, nil, "Service web is not in the input"},
		{"a subset of a Service without a selector", strings.Replace(webService, "selector: {app: web}, ", "", 1) + webSubsets, nil, "has no selector"},
		{"a subset that contradicts its Service", webService + strings.Replace(webSubsets, "version: v1", "app: other", 1), nil, "its selector wants app=web"},
		{"a subset whose name is taken", webService + strings.ReplaceAll(webService, "web", "web-v1") + webSubsets, nil, "with another selector: rename the subset"},
		{"a subset that somebody wrote as a Service", webService + webSubsets + `
apiVersion: v1
kind: Service
metadata: {name: web-v1, namespace: shop}
spec: {selector: {app: web, version: v1}, ports: [{name: http, port: 8080}]}
`, nil, ""},
		{"a subset without labels is all of its Service", webService + strings.Replace(webSubsets, "labels: {version: v1}", "", 1), []string{"Service/web-v1"}, ""},
		{"a subset's host with a wildcard", webService + strings.Replace(webSubsets, "host: web", "host: '*.shop.svc.cluster.local'", 1), nil, "is no Service of the cluster"},
		{"a traffic policy without its Service", strings.Replace(webSubsets, "subsets: [{name: v1, labels: {version: v1}}]", "trafficPolicy: {outlierDetection: {}}", 1), nil,
			"kubectl annotate service -n shop web balancer.linkerd.io/failure-accrual=consecutive"},

		{"a route to a subset", webService + webSubsets + toSubset, []string{"HTTPRoute/web", "Service/web-v1"}, ""},
		{"a route to a subset without its DestinationRule", webService + toSubset, nil, "add the DestinationRule of web and Service web to the files"},
		{"a route to a subset without its Service", webSubsets + toSubset, nil, "the rule is left out: Service web is not in the input"},
		{"a route to a subset of a Service in another namespace", webService + strings.Replace(webSubsets, "namespace: shop", "namespace: bank", 1) + toSubset, nil, "the rule is left out"},
		{"connections to a subset without its Service", webSubsets + serviceHead + "spec: {hosts: [web], tcp: [{match: [{port: 1}], route: [{destination: {host: web, subset: v1}}]}]}\n",
			nil, "the rule is left out: Service web is not in the input"},
		{"a mirror to a subset without its Service", serviceHead + "spec: {hosts: [web], http: [{mirror: {host: web, subset: v1}, route: [{destination: {host: web}}]}]}\n",
			[]string{"HTTPRoute/web"}, "add the DestinationRule"},
		{"a route to a host of the input", webService + fmt.Sprintf(toHost, "web.shop.svc.cluster.local"), []string{"HTTPRoute/web"}, ""},
		{"a route to a Service that is not in the input is by its name", fmt.Sprintf(toHost, "other"), []string{"HTTPRoute/web"}, ""},
		{"a route to a host outside of the cluster", webService + fmt.Sprintf(toHost, "api.example.com") + `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec: {hosts: [api.example.com]}
`, nil, `the rule is left out: "api.example.com" is no Service`},
		{"a route to a host of several clusters", fmt.Sprintf(toHost, "web.shop.svc.clusterset.local"), nil, "is no Service of the cluster"},
		{"a share of a route to a host outside", serviceHead + "spec: {hosts: [web], http: [{route: [{destination: {host: web}, weight: 90}, {destination: {host: a.example}, weight: 10}]}]}\n",
			nil, "the rule is left out"},
		{"a route of another VirtualService", serviceHead + "spec: {hosts: [web], http: [{delegate: {name: other}}]}\n", nil, "write the delegate's rules in its place"},
		{"an answer without a destination", serviceHead + "spec: {hosts: [web], http: [{directResponse: {status: 403}}]}\n", nil, "the mesh has no fixed answers"},
		{"a route of a gateway alone", serviceHead + "spec: {hosts: [web], gateways: [public], http: [{route: [{destination: {host: web}}]}]}\n", nil, "it is for gateways alone (public)"},
		{"a route of a gateway and of the mesh", serviceHead + "spec: {hosts: [web], gateways: [public, mesh], http: [{route: [{destination: {host: web}}]}]}\n",
			[]string{"HTTPRoute/web"}, "routes of a gateway"},
		{"a host with a wildcard", serviceHead + "spec: {hosts: ['*'], http: [{route: [{destination: {host: web}}]}]}\n", nil, "is no Service of the cluster"},
		{"a path that no route has", serviceHead + "spec: {hosts: [web], http: [{match: [{uri: {exact: a//b}}], route: [{destination: {host: web}}]}]}\n", nil, "no counterpart"},

		{"a split", fmt.Sprintf(split, "web", "1", ""), []string{"HTTPRoute/web"}, ""},
		{"a split by the Service's whole name", fmt.Sprintf(split, "web.shop.svc.cluster.local", "1", ""), []string{"HTTPRoute/web"}, ""},
		{"a split in another namespace", fmt.Sprintf(split, "web.bank.svc.cluster.local", "1", ""), nil, "want a Service of its namespace"},
		{"a split with a weight that is none", fmt.Sprintf(split, "web", "much", ""), nil, "and a number"},
		{"a split of some requests", fmt.Sprintf(split, "web", "1", ", matches: [{kind: HTTPRouteGroup, name: a}]"), nil, "it is for some requests only"},

		{"a policy for pods behind a Service", webService + policyHead + "spec: {selector: {matchLabels: {app: web}}}\n", []string{"Server/p"}, ""},
		{"a policy for the pods of a workload", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web, x: y}}, spec: {containers: [{name: a, ports: [{containerPort: 9000}, {containerPort: 53, protocol: UDP}]}]}}}
---` + policyHead + "spec: {selector: {matchLabels: {app: web}}}\n", []string{"Server/p"}, ""},
		{"a policy for pods whose ports nobody tells", policyHead + "spec: {selector: {matchLabels: {app: web}}}\n", []string{"Server/p"}, "only port 80 is closed"},
		{"a policy for a waypoint", policyHead + "spec: {targetRefs: [{kind: Gateway, name: waypoint}]}\n", nil, "choose pods by spec.selector"},
		{"a policy of the whole mesh", strings.Replace(policyHead, "shop", meshWide, 1) + "spec: {}\n", nil, "tulle install --set proxy.defaultInboundPolicy=deny"},
		{"a policy for such pods of the whole mesh", strings.Replace(policyHead, "shop", meshWide, 1) + "spec: {selector: {matchLabels: {app: web}}}\n", nil, "convert it once for each namespace"},
		{"a policy without a namespace", strings.Replace(policyHead, ", namespace: shop", "", 1) + "spec: {}\n", nil, "add metadata.namespace, or give -n NAMESPACE"},
		{"rules without a namespace", strings.Replace(policyHead, ", namespace: shop", "", 1) + "spec: {rules: [{from: [{source: {namespaces: [a]}}]}]}\n", nil, "add metadata.namespace"},
		{"mutual TLS without a namespace", strings.Replace(strict, ", namespace: shop", "", 1), nil, "add metadata.namespace"},
		{"mutual TLS of the whole mesh", strings.Replace(strict, "shop", meshWide, 1), nil, "tulle install --set proxy.defaultInboundPolicy=all-authenticated"},
		{"mutual TLS of some pods", strings.Replace(strict, "spec: {", "spec: {selector: {matchLabels: {app: web}}, ", 1), nil, "annotate their pod template"},
		{"clients that are not defined", `
apiVersion: security.linkerd.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: {targetRef: {kind: Server, name: web}, requiredAuthenticationRefs: [{kind: MeshTLS, name: clients}]}
`, []string{"AuthorizationPolicy/p"}, "MeshTLSAuthentication clients is not in the input"},

		{"a rate limit of some pods", webService + fmt.Sprintf(limited, "shop", "workloadSelector: {labels: {app: web}}"), []string{"HTTPLocalRateLimitPolicy/limit", "Server/limit"}, ""},
		{"a rate limit of a namespace", webService + fmt.Sprintf(limited, "shop", ""), []string{"HTTPLocalRateLimitPolicy/limit", "Server/limit"}, ""},
		{"a rate limit of the whole mesh", fmt.Sprintf(limited, meshWide, ""), nil, "convert it once for each namespace"},
		{"a rate limit of a waypoint", fmt.Sprintf(limited, "shop", "targetRefs: [{kind: Gateway, name: a}]"), nil, "choose pods by spec.workloadSelector"},
	} {
		t.Run(c.name, func(t *testing.T) {
			input := decode(t, c.in)
			r := Convert(input, Options{})
			var made []string
			for _, o := range r.Objects {
				if err := crdtest.Validate(o); err != nil {
					t.Errorf("the API server refuses %v: %v", o, err)
				}
				passed := slices.ContainsFunc(input, func(in map[string]any) bool {
					return in["apiVersion"] == o["apiVersion"] && in["kind"] == o["kind"] && cmp.Equal(in["metadata"], o["metadata"])
				})
				if !passed {
					made = append(made, fmt.Sprint(o["kind"], "/", o["metadata"].(map[string]any)["name"]))
				}
			}
			slices.Sort(made)
			if diff := cmp.Diff(c.made, made); diff != "" {
				t.Errorf("made (-want +got):\n%s", diff)
			}
			said := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Outcome == Dropped && strings.Contains(f.Message, c.dropped) })
			if r.Lossy() != (c.dropped != "") || said != (c.dropped != "") {
				t.Errorf("findings %v; want one dropped with %q", r.Findings, c.dropped)
			}
		})
	}
}

// TestPortOfSeveral covers hosts whose Service has several ports, where Istio takes each request's own.
func TestPortOfSeveral(t *testing.T) {
	for _, c := range []struct {
		ports string
		given int // --port
		want  int
		told  bool
	}{
		{"{port: 9090, name: metrics}, {port: 8080, name: http-web}", 0, 8080, false},
		{"{port: 9090, name: tcp-a}, {port: 8080, name: web, appProtocol: kubernetes.io/h2c}", 0, 8080, false},
		{"{port: 53, protocol: UDP}, {port: 8080}", 0, 8080, false},
		{"{port: 9090, name: http-metrics}, {port: 8080, name: http}", 0, 9090, true},
		{"{port: 9090, name: http-metrics}, {port: 8080, name: http}", 8080, 8080, false},
		{"{port: 7000, name: a}, {port: 8080, name: b}", 0, 7000, true},
	} {
		in := strings.Replace(webService, "{name: http, port: 8080}", c.ports, 1) + fmt.Sprintf(toHost, "web")
		r := Convert(decode(t, in), Options{Port: c.given})
		i := slices.IndexFunc(r.Objects, func(o map[string]any) bool { return o["kind"] == "HTTPRoute" })
		parent := r.Objects[i]["spec"].(map[string]any)["parentRefs"].([]any)[0].(map[string]any)
		told := slices.ContainsFunc(r.Findings, func(f Finding) bool { return strings.Contains(f.Message, "name another with --port") })
		if parent["port"] != c.want || told != c.told {
			t.Errorf("%s with --port %d: port %v, told %v; want %d, %v", c.ports, c.given, parent["port"], told, c.want, c.told)
		}
	}
}

// TestOutputsFitTheirSchemas converts what is larger than an object of this mesh may be: it becomes several, in the order it had.
func TestOutputsFitTheirSchemas(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const to = ", route: [{destination: {host: web}}]}, "
	for _, c := range []struct {
		name, in string
		routes   int
		dropped  bool
	}{
		{"16 rules", serviceHead + "spec: {hosts: [web], http: [" + repeat(16, "{match: [{uri: {exact: /a%d}}]"+to) + "]}\n", 1, false},
		{"17 rules", serviceHead + "spec: {hosts: [web], http: [" + repeat(17, "{match: [{uri: {exact: /a%d}}]"+to) + "]}\n", 2, false},
		{"170 rules", serviceHead + "spec: {hosts: [web], http: [" + repeat(170, "{match: [{uri: {exact: /a%d}}]"+to) + "]}\n", 11, false},
		{"64 matches", serviceHead + "spec: {hosts: [web], http: [{name: x, match: [" + repeat(64, "{uri: {exact: /a%d}}, ") + "]" + to + "]}\n", 1, false},
		{"129 matches", serviceHead + "spec: {hosts: [web], http: [{name: x, match: [" + repeat(129, "{uri: {exact: /a%d}}, ") + "]" + to + "]}\n", 2, false},
		{"12 rules with retries have names in their order", serviceHead + "spec: {hosts: [web], http: [" + repeat(12, "{match: [{uri: {exact: /a%d}}], retries: {attempts: 2}"+to) + "]}\n", 12, false},
		{"17 destinations", serviceHead + "spec: {hosts: [web], http: [{route: [" + repeat(17, "{destination: {host: w%d}, weight: 1}, ") + "]}]}\n", 0, true},
		{"17 headers", serviceHead + "spec: {hosts: [web], http: [{match: [{headers: {" + repeat(17, "h%d: {exact: a}, ") + "}}]" + to + "]}\n", 0, true},
		{"130 paths of a policy", webService + policyHead + "spec: {selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {paths: [" + repeat(130, "/a%d, ") + "]}}]}]}\n", 2, false},
		{"a path of a policy that no route has", webService + policyHead + "spec: {selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {paths: [a]}}]}]}\n", 0, true},
		{"17 backends of a split", strings.Replace(fmt.Sprintf(split, "web", "1", ""), "{service: web-v1, weight: 1}", repeat(17, "{service: w%d, weight: 1}, "), 1), 0, true},
		{"a long time", serviceHead + "spec: {hosts: [web], http: [{timeout: 123456.789s" + to + "]}\n", 1, false},
		{"a time that is none", serviceHead + "spec: {hosts: [web], http: [{timeout: 1us" + to + "]}\n", 1, true},
		{"a redirect with another code", serviceHead + "spec: {hosts: [web], http: [{redirect: {uri: /a, redirectCode: 300}}]}\n", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Convert(decode(t, c.in), Options{})
			var names []string
			for _, o := range r.Objects {
				if err := crdtest.Validate(o); err != nil {
					t.Errorf("the API server refuses %.300v: %v", o, err)
				}
				if o["kind"] == "HTTPRoute" {
					names = append(names, text(o["metadata"].(map[string]any)["name"]))
				}
			}
			if len(names) != c.routes || !slices.IsSorted(names) || r.Lossy() != c.dropped {
				t.Errorf("routes %q, dropped %v; want %d in the order of names, %v; findings %v", names, r.Lossy(), c.routes, c.dropped, r.Findings)
			}
		})
	}
}
