package convert

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// limitOfWeb is a rate limit in Istio's form, and the end of its document.
const limitOfWeb = `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: shop}
spec:
  workloadSelector: {labels: {app: web}}
  configPatches:
  - patch:
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config: {value: {token_bucket: {max_tokens: 10, tokens_per_fill: 10, fill_interval: 1s}}}
---`

// decode reads documents as the command line does: numbers of YAML become those of JSON.
func decode(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(doc), &tree); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if tree != nil {
			out = append(out, tree)
		}
	}
	return out
}

// plain brings what was made and what was written down to the same types.
func plain(t *testing.T, objects []map[string]any) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, decode(t, string(text))...)
	}
	return out
}

type conversionCase struct {
	name    string
	in      string
	want    string   // "": nothing
	dropped []string // fields, in order
}

func (c conversionCase) run(t *testing.T) {
	r := Convert(decode(t, c.in), Options{FaultUntil: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)})
	if diff := cmp.Diff(plain(t, decode(t, c.want)), plain(t, r.Objects)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	var dropped []string
	for _, f := range r.Findings {
		if f.Conversion == Dropped {
			dropped = append(dropped, f.Field)
		}
	}
	if diff := cmp.Diff(c.dropped, dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}

const (
	strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`
	denied = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {config.linkerd.io/default-inbound-policy: deny}}
`
	policyHead = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
`
)

func TestIstioAccessAddsUp(t *testing.T) {
	for _, c := range []conversionCase{
		{"deny of everything beats mutual TLS for everybody", strict + "---\n" + policyHead + "spec: {}\n", denied, nil},
		{"whichever comes first", policyHead + "spec: {}\n---\n" + strict, denied, nil},
		{"a rule without conditions admits every client",
			policyHead + "spec: {rules: [{}]}\n", `
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {config.linkerd.io/default-inbound-policy: all-unauthenticated}}
`, nil},
		{"a rule without conditions asks for mutual TLS where a PeerAuthentication does",
			strict + "---\n" + policyHead + "spec: {rules: [{}]}\n", `
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {config.linkerd.io/default-inbound-policy: all-authenticated}}
`, nil},
		{"a rule without sources asks for mutual TLS where a PeerAuthentication does",
			policyHead + `
spec:
  selector: {matchLabels: {app: web}}
  rules: [{to: [{operation: {ports: ["8080"]}}]}]
---` + strings.Replace(strict, "shop", "istio-system", 1), `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: p, namespace: shop}
spec: {accessPolicy: deny, podSelector: {matchLabels: {app: web}}, port: 8080}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {name: p-1, namespace: shop}
spec: {identities: ["*"]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: p-1, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: p}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: p-1}]
`, nil},
		{"a rate limit does not open a port that a policy closes", limitOfWeb + policyHead + "spec: {selector: {matchLabels: {app: web}}}\n", `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: limit, namespace: shop}
spec: {accessPolicy: deny, podSelector: {matchLabels: {app: web}}, port: 80}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {name: limit, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: limit}
  total: {requestsPerSecond: 10}
`, nil},
	} {
		t.Run(c.name, c.run)
	}
}

func TestIstioPolicyOfSeveralPorts(t *testing.T) {
	conversionCase{in: policyHead + `
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - to:
    - operation: {ports: ["8080"], methods: [GET], paths: ["/a/{*}/b", "/c/{**}"]}
    - operation: {ports: ["9090"]}
`, want: `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: p-8080, namespace: shop}
spec: {accessPolicy: deny, podSelector: {matchLabels: {app: web}}, port: 8080}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: p-1-8080, namespace: shop}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: p-8080}]
  rules:
  - matches:
    - {method: GET, path: {type: RegularExpression, value: "/a/[^/]+/b"}}
    - {method: GET, path: {type: RegularExpression, value: "/c/.*"}}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: p-1-8080, namespace: shop}
spec: {targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: p-1-8080}, requiredAuthenticationRefs: []}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: p-9090, namespace: shop}
spec: {accessPolicy: deny, podSelector: {matchLabels: {app: web}}, port: 9090}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: p-1-9090, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: p-9090}, requiredAuthenticationRefs: []}
`}.run(t)
}

// TestIstioClients checks what a rule's sources become. What has no counterpart drops the rule: nobody is let in.
func TestIstioClients(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         map[string]any // spec of the authentication; nil: the rule is dropped
	}{
		{"whole principal", `principals: [cluster.local/ns/a/sa/b]`,
			map[string]any{"identities": []any{"spiffe://cluster.local/ns/a/sa/b"}}},
		{"every principal", `principals: ["*"]`, map[string]any{"identities": []any{"*"}}},
		{"all of a namespace", `principals: ["cluster.local/ns/a/sa/*"]`,
			map[string]any{"identityRefs": []any{map[string]any{"kind": "Namespace", "name": "a"}}}},
		{"all of a namespace, short", `principals: ["*/ns/a/*"]`,
			map[string]any{"identityRefs": []any{map[string]any{"kind": "Namespace", "name": "a"}}}},
		{"one account in any trust domain", `principals: ["*/ns/a/sa/b"]`,
			map[string]any{"identityRefs": []any{map[string]any{"kind": "ServiceAccount", "namespace": "a", "name": "b"}}}},
		{"a part of a name", `principals: ["cluster.local/ns/a/sa/b*"]`, nil},
		{"a part of a namespace", `namespaces: ["a*"]`, nil},
		{"namespaces", `namespaces: [a, b]`,
			map[string]any{"identityRefs": []any{map[string]any{"kind": "Namespace", "name": "a"},
				map[string]any{"kind": "Namespace", "name": "b"}}}},
		{"names and namespaces", `principals: [cluster.local/ns/a/sa/b, "cluster.local/ns/c/*"]`, nil},
		{"addresses", `ipBlocks: [10.0.0.1, "fd00::/8"]`,
			map[string]any{"networks": []any{map[string]any{"cidr": "10.0.0.1/32"}, map[string]any{"cidr": "fd00::/8"}}}},
		{"everybody but some", `notPrincipals: [cluster.local/ns/a/sa/b]`, nil},
		{"nothing", ``, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := policyHead + "spec:\n  selector: {matchLabels: {app: web}}\n  rules: [{from: [{source: {" + c.source +
				"}}]}]\n"
			r := Convert(decode(t, in), Options{})
			var got map[string]any
			allowed := false
			for _, o := range r.Objects {
				switch o["kind"] {
				case "MeshTLSAuthentication", "NetworkAuthentication":
					got = o["spec"].(map[string]any)
				case "AuthorizationPolicy":
					allowed = true
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("authentication (-want +got):\n%s", diff)
			}
			if allowed != (c.want != nil) || r.Lossy() == (c.want != nil) {
				t.Errorf("allowed %v, lossy %v", allowed, r.Lossy())
			}
		})
	}
}

const serviceHead = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
`

// routeOf is an HTTPRoute of Service web with these rules and annotations.
func routeOf(annotations, rules string) string {
	return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop` + annotations + `}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
` + rules
}

func TestVirtualServiceRules(t *testing.T) {
	for _, c := range []conversionCase{
		{"each match whose prefix is replaced is a rule of its own, the others share one", serviceHead + `
spec:
  hosts: [web]
  http:
  - name: api
    match: [{uri: {prefix: /a/}}, {uri: {exact: /b}}, {uri: {regex: "/c.*"}}, {headers: {x: {exact: z}}}]
    rewrite: {uri: /new, authority: other}
    route: [{destination: {host: web}}]
`, routeOf("", `
  - name: api
    matches: [{path: {type: PathPrefix, value: /a}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: other, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
    backendRefs: [{name: web, port: 80}]
  - name: api-2
    matches: [{headers: [{name: x, value: z}], path: {type: PathPrefix, value: /}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: other, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
    backendRefs: [{name: web, port: 80}]
  - name: api-3
    matches: [{path: {type: Exact, value: /b}}, {path: {type: RegularExpression, value: "/c.*"}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: other, path: {type: ReplaceFullPath, replaceFullPath: /new}}}]
    backendRefs: [{name: web, port: 80}]
`), nil},
		{"a rewrite without a match replaces the prefix /", serviceHead + `
spec: {hosts: [web], http: [{rewrite: {uri: /v1/}, route: [{destination: {host: web}}]}]}
`, routeOf("", `
  - matches: [{path: {type: PathPrefix, value: /}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /v1/}}}]
    backendRefs: [{name: web, port: 80}]
`), nil},
		{"redirects and cross-origin rules", serviceHead + `
spec:
  hosts: [web]
  http:
  - match: [{uri: {exact: /old}, method: {exact: GET}, queryParams: {q: {prefix: "1."}}}]
    redirect: {uri: /new, authority: a.example, scheme: https, port: 8443, redirectCode: 308}
    corsPolicy: {allowOrigins: [{exact: "https://a.example"}, {regex: ".*"}], allowMethods: [GET], allowCredentials: true, maxAge: 1h}
  - match: [{uri: {exact: /older}}]
    redirect: {uri: /new}
`, routeOf("", `
  - matches: [{path: {type: Exact, value: /old}, method: GET, queryParams: [{name: q, type: RegularExpression, value: '1\..*'}]}]
    filters:
    - {type: RequestRedirect, requestRedirect: {hostname: a.example, path: {type: ReplaceFullPath, replaceFullPath: /new}, port: 8443, scheme: https, statusCode: 308}}
    - {type: CORS, cors: {allowOrigins: ["https://a.example"], allowMethods: [GET], allowCredentials: true, maxAge: 3600}}
  - matches: [{path: {type: Exact, value: /older}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}, statusCode: 301}}]
`), []string{"spec.http[0].corsPolicy.allowOrigins[1]"}},
		{"lengths of time have whole numbers", serviceHead + `
spec:
  hosts: [web]
  http:
  - timeout: 0.5s
    retries: {attempts: 3, perTryTimeout: 1m30s, retryOn: "5xx,connect-failure,unavailable,404,retriable-4xx"}
    route: [{destination: {host: web}}]
`, routeOf(`, annotations: {retry.linkerd.io/limit: "3", retry.linkerd.io/timeout: 90s, retry.linkerd.io/http: "5xx,404,409", retry.linkerd.io/grpc: unavailable}`, `
  - timeouts: {request: 500ms}
    backendRefs: [{name: web, port: 80}]
`), nil},
		{"retries of connections alone need no annotation", serviceHead + `
spec: {hosts: [web], http: [{retries: {attempts: 3, retryOn: connect-failure}, route: [{destination: {host: web}}]}]}
`, routeOf("", `
  - backendRefs: [{name: web, port: 80}]
`), nil},
		{"a fault without a percentage injects nothing", serviceHead + `
spec:
  hosts: [web]
  http:
  - fault: {abort: {httpStatus: 503}, delay: {fixedDelay: 1.5s, percentage: {value: 0.1}}}
    route: [{destination: {host: web}}]
`, routeOf(`, annotations: {fault.tulle.dev/delay: 1500ms, fault.tulle.dev/delay-percent: "0.1", fault.tulle.dev/until: "2030-01-02T03:04:05Z"}`, `
  - backendRefs: [{name: web, port: 80}]
`), []string{"spec.http[0].fault.abort"}},
		{"a match that would become wider takes its rule with it", serviceHead + `
spec:
  hosts: [web]
  http:
  - match: [{sourceLabels: {app: a}, uri: {exact: /a}}]
    route: [{destination: {host: web}}]
  - route: [{destination: {host: web}}]
`, routeOf("", `
  - backendRefs: [{name: web, port: 80}]
`), []string{"spec.http[0].match[0]"}},
		{"connections", serviceHead + `
spec:
  hosts: [web]
  tcp:
  - match: [{port: 5432}]
    route: [{destination: {host: web, port: {number: 5433}}}]
  - match: [{sourceLabels: {app: a}}]
    route: [{destination: {host: web}}]
`, `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: web-tcp-1, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 5432}]
  rules: [{backendRefs: [{name: web, port: 5433}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: web-tcp-2, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`, []string{"spec.tcp[1].match"}},
	} {
		t.Run(c.name, c.run)
	}
}

func TestInjectionLabels(t *testing.T) {
	for _, c := range []conversionCase{
		{"label of a revision", `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/rev: stable, team: a}}
`, `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}, annotations: {linkerd.io/inject: enabled}}
`, nil},
		{"label of a pod template", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web, sidecar.istio.io/inject: "false"}}}}
`, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web}, annotations: {linkerd.io/inject: disabled}}}}
`, nil},
	} {
		t.Run(c.name, c.run)
	}
}

// TestObjectsOfACluster converts what `kubectl get -o yaml` prints: policies are for the ports that Services lead to,
// and what the cluster added to an object is not applied again.
func TestObjectsOfACluster(t *testing.T) {
	conversionCase{
		in: `
apiVersion: v1
kind: Service
metadata:
  name: reviews
  namespace: books
  uid: cb639aaf
  resourceVersion: "4075"
  creationTimestamp: "2026-01-02T03:04:05Z"
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
spec:
  selector: {app: reviews}
  ports: [{port: 80, targetPort: 9080}, {port: 9090, protocol: TCP}, {port: 53, protocol: UDP}]
status: {loadBalancer: {}}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: books}
spec: {selector: {app: other}, ports: [{port: 7000}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: books}
spec:
  selector: {matchLabels: {app: reviews, version: v1}}
  rules: [{}]
`,
		want: `
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: books}
spec:
  selector: {app: reviews}
  ports: [{port: 80, targetPort: 9080}, {port: 9090, protocol: TCP}, {port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: books}
spec: {selector: {app: other}, ports: [{port: 7000}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: readers-9080, namespace: books}
spec: {podSelector: {matchLabels: {app: reviews, version: v1}}, port: 9080, accessPolicy: deny}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: readers-1-9080, namespace: books}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: readers-9080}, requiredAuthenticationRefs: []}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: readers-9090, namespace: books}
spec: {podSelector: {matchLabels: {app: reviews, version: v1}}, port: 9090, accessPolicy: deny}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: readers-1-9090, namespace: books}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: readers-9090}, requiredAuthenticationRefs: []}
`,
	}.run(t)
}

// TestNothingThatIstioClosesIsOpen converts policies next to Services whose ports they close without naming them.
func TestNothingThatIstioClosesIsOpen(t *testing.T) {
	const service = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [%s]}
---`
	for _, c := range []struct {
		name, in string
		servers  map[string]string // "namespace/port": policy
		dropped  bool
	}{
		{"a port that a Service knows by name",
			strings.Replace(service, "%s", "{port: 80, targetPort: http}, {port: 53, targetPort: dns, protocol: UDP}", 1) +
				policyHead + "spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {namespaces: [a]}}]}]}\n",
			map[string]string{"shop/http": "deny"}, false},
		{"a Service that selects by other labels than the policy",
			strings.Replace(service, "%s", "{port: 80, targetPort: 8080}", 1) +
				policyHead + "spec: {selector: {matchLabels: {version: v1}}, rules: [{}]}\n",
			map[string]string{"shop/8080": "deny"}, false},
		{"a port that no rule names", strings.Replace(service, "%s", "{port: 8080}, {port: 9090}, {port: 10}", 1) +
			policyHead + "spec: {selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {ports: [\"8080\"]}}]}]}\n",
			map[string]string{"shop/8080": "deny", "shop/9090": "deny", "shop/10": "deny"}, false},
		{"a rate limit in a namespace that denies", limitOfWeb + policyHead + "spec: {}\n",
			map[string]string{"shop/80": "deny"}, false},
		{"a rate limit in a namespace that admits some", limitOfWeb + policyHead +
			"spec: {rules: [{from: [{source: {namespaces: [a]}}]}]}\n",
			map[string]string{"shop/80": "deny"}, false},
		{"a rate limit in a namespace that admits all", limitOfWeb + policyHead + "spec: {rules: [{}]}\n",
			map[string]string{"shop/80": "all-unauthenticated"}, false},
		{"rules for the whole mesh are none for one namespace", strings.Replace(policyHead, "shop", "istio-system", 1) +
			"spec: {rules: [{from: [{source: {namespaces: [a]}}]}]}\n", map[string]string{}, true},
		{"to deny the whole mesh is to deny no namespace", strings.Replace(policyHead, "shop", "istio-system", 1) +
			"spec: {}\n", map[string]string{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Convert(decode(t, c.in), Options{})
			servers := map[string]string{}
			for _, tree := range plain(t, r.Objects) {
				o := newObject(&conversion{}, tree)
				switch {
				case o.kind == "Server":
					servers[o.namespace+"/"+o.spec().at("port").text()] = o.spec().at("accessPolicy").text()
				case o.name == "istio-system" || o.namespace == "istio-system":
					t.Errorf("%s %s is for one namespace", o.kind, o.name)
				}
			}
			if diff := cmp.Diff(c.servers, servers); diff != "" {
				t.Errorf("Servers (-want +got):\n%s", diff)
			}
			if dropped := slices.ContainsFunc(r.Findings,
				func(f Finding) bool { return f.Conversion == Dropped }); dropped != c.dropped {
				t.Errorf("findings %v", r.Findings)
			}
		})
	}
}

// TestMatchWithoutAnOperator drops a match whose condition has no operator that exists: without the condition it would
// be wider.
func TestMatchWithoutAnOperator(t *testing.T) {
	for name, match := range map[string]map[string]any{
		"a path":   {"uri": map[string]any{"exac": "/x"}},
		"any path": {"uri": map[string]any{}},
		"a header": {"headers": map[string]any{"x": map[string]any{"exac": "y"}}},
		"a query":  {"queryParams": map[string]any{"x": map[string]any{"exac": "y"}}},
	} {
		r := Convert([]map[string]any{{
			"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": map[string]any{"name": "a"},
			"spec": map[string]any{"hosts": []any{"web"}, "http": []any{map[string]any{"match": []any{match}}}},
		}}, Options{})
		if len(r.Objects) > 0 || !r.Lossy() {
			t.Errorf("%s: objects %v, findings %v; want none, and that it was dropped", name, r.Objects, r.Findings)
		}
	}
}
