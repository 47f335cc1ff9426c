package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// dryRun lets the API server judge a manifest and returns all that kubectl says of it, warnings and errors included.
func dryRun(t *testing.T, manifest []byte) (said string, accepted bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// create, not apply: apply looks at what is there, and nothing is.
	cmd := command(ctx, env.kubectl, "create", "--dry-run=server", "-f", "-")
	cmd.Stdin = bytes.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// policyNamespaces are where the manifests of these tests belong.
func policyNamespaces(t *testing.T) {
	t.Helper()
	for _, ns := range []string{"production", "shop"} {
		mustKubectl(t, "delete", "namespace", ns, "--ignore-not-found") // of another test
		if _, err := kubectlIn([]byte(`{apiVersion: v1, kind: Namespace, metadata: {name: `+ns+`}}`), "apply", "-f",
			"-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mustKubectl(t, "delete", "namespace", ns, "--wait=false") })
	}
	// An admission policy applies a moment after it was written: wait for what one of them says.
	eventually(t, time.Minute, func() error {
		_, err := kubectlIn([]byte(`{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: a, namespace: shop},
			spec: {targetRef: {kind: Namespace, name: other}, requiredAuthenticationRefs: []}}`), "create", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), "make it in namespace other") {
			return fmt.Errorf("got %v, want a refusal", err)
		}
		return nil
	})
}

// TestAdmission shows manifests to the API server: those of tutorials, those with one mistake, those of an older
// version.
func TestAdmission(t *testing.T) {
	policyNamespaces(t)
	t.Run("tutorials", testManifestsOfTutorials)
	t.Run("what convert makes", testConvertedManifests)
	t.Run("judgements", testJudgements)
	t.Run("versions are one object", testVersionsAreOneObject)
}

// judgement is a manifest, in flow style, and what must be said of it: nothing, a warning, or an error that tells
// where, why and what to write instead.
type judgement struct {
	name, kind, metadata, spec string
	warns, denies              []string
}

func (j judgement) manifest() []byte {
	metadata := "name: a, namespace: shop"
	if j.metadata != "" {
		metadata = j.metadata
	}
	version, kind, _ := strings.Cut(j.kind, " ")
	return []byte("{apiVersion: " + version + ", kind: " + kind + ", metadata: {" + metadata + "}, spec: {" + j.spec +
		"}}")
}

func testJudgements(t *testing.T) {
	for _, table := range [][]judgement{profileJudgements, serverJudgements, clientJudgements, routeJudgements,
		serviceJudgements, podJudgements, hugeJudgements} {
		for _, j := range table {
			t.Run(j.kind+"/"+j.name, func(t *testing.T) {
				t.Parallel()
				said, accepted := dryRun(t, j.manifest())
				if accepted != (j.denies == nil) {
					t.Errorf("accepted: %v", accepted)
				}
				if warned := strings.Contains(said, "Warning"); warned != (j.warns != nil) {
					t.Errorf("warned: %v", warned)
				}
				for _, w := range append(j.warns, j.denies...) {
					if !strings.Contains(said, w) {
						t.Errorf("without %q", w)
					}
				}
				if t.Failed() {
					t.Logf("kubectl says %.2000s", said)
				}
			})
		}
	}
}

const (
	kindProfile  = "linkerd.io/v1alpha2 ServiceProfile"
	webProfile   = "name: web.shop.svc.cluster.local, namespace: shop"
	wantDuration = "want a duration with its unit, such as"
)

const lockedPod = "name: a, namespace: shop, annotations: {linkerd.io/inject: enabled, " +
	"config.linkerd.io/default-inbound-policy: deny}"

var podJudgements = []judgement{
	{name: "a probe over HTTP", kind: "v1 Pod", metadata: lockedPod,
		spec: "containers: [{name: app, image: a, livenessProbe: {httpGet: {port: 80}}}]"},
	{name: "a probe over HTTPS", kind: "v1 Pod", metadata: lockedPod,
		spec:  "containers: [{name: app, image: a, livenessProbe: {httpGet: {port: 443, scheme: HTTPS}}}]",
		warns: []string{"container app: livenessProbe asks port 443 over HTTPS", "refuses clients without identity"}},
	{name: "a hook over HTTPS", kind: "v1 Pod", metadata: lockedPod,
		spec:  "containers: [{name: app, image: a, lifecycle: {preStop: {httpGet: {port: 443, scheme: HTTPS}}}}]",
		warns: []string{"container app: preStop asks port 443 over HTTPS"}},
}

var profileJudgements = []judgement{
	{name: "everything", kind: kindProfile, metadata: webProfile, spec: `retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s},
		opaquePorts: ["3306", "4000-4010"], dstOverrides: [{authority: "a.shop.svc.cluster.local:80", weight: 900m}, {authority: b, weight: 1}],
		routes: [{name: a, timeout: 1m30s, isRetryable: true, condition: {all: [{method: GET}, {not: {pathRegex: /x}}]},
		responseClasses: [{condition: {any: [{status: {min: 500}}, {status: {max: 429}}]}, isFailure: true}]}]`},
	{name: "the oldest version", kind: "linkerd.io/v1alpha1 ServiceProfile", metadata: webProfile, spec: "routes: []"},
	{name: "for the clients of a namespace", kind: kindProfile,
		metadata: "name: web.shop.svc.cluster.local, namespace: production", spec: "routes: []",
		warns: []string{"metadata.namespace: this profile holds for clients in namespace production alone",
			"make it in the namespace of the Service, shop"}},
	{name: "no Service's name", kind: kindProfile, metadata: "name: web, namespace: shop", spec: "routes: []",
		warns: []string{`metadata.name: "web" is not the full name of a Service`, "such as web.shop.svc.cluster.local"}},
	{name: "an unknown field", kind: kindProfile, metadata: webProfile, spec: "retries: 2",
		denies: []string{`unknown field "spec.retries"`}},
	{name: "a route without name and condition", kind: kindProfile, metadata: webProfile, spec: "routes: [{}]",
		denies: []string{"spec.routes[0].name: Required value", "spec.routes[0].condition: Required value"}},
	{name: "an empty condition", kind: kindProfile, metadata: webProfile, spec: "routes: [{name: a, condition: {}}]",
		denies: []string{"spec.routes[0].condition", "add method, pathRegex, all, any or not"}},
	{name: "an empty condition below", kind: kindProfile, metadata: webProfile,
		spec:   "routes: [{name: a, condition: {any: [{}]}}]",
		denies: []string{"spec.routes[0].condition.any[0]", "at least 1 properties"}},
	{name: "an empty response condition", kind: kindProfile, metadata: webProfile,
		spec:   "routes: [{name: a, condition: {method: GET}, responseClasses: [{condition: {}}]}]",
		denies: []string{"spec.routes[0].responseClasses[0].condition", "add status, all, any or not"}},
	{name: "no expression", kind: kindProfile, metadata: webProfile,
		spec: "routes: [{name: a, condition: {pathRegex: '/('}}]",
		denies: []string{"spec.routes[0].condition.pathRegex", "missing closing )",
			"want a regular expression of the RE2 syntax"}},
	{name: "no timeout", kind: kindProfile, metadata: webProfile,
		spec:   "routes: [{name: a, condition: {method: GET}, timeout: '5'}]",
		denies: []string{"spec.routes[0].timeout", wantDuration}},
	{name: "statuses out of order", kind: kindProfile, metadata: webProfile,
		spec: "routes: [{name: a, condition: {method: GET}, responseClasses: [{condition: {status: {min: 599, max: " +
			"500}}}]}]",
		denies: []string{"spec.routes[0].responseClasses[0].condition.status", "min is above max; exchange them"}},
	{name: "no status", kind: kindProfile, metadata: webProfile,
		spec:   "routes: [{name: a, condition: {method: GET}, responseClasses: [{condition: {status: {min: 600}}}]}]",
		denies: []string{"spec.routes[0].responseClasses[0].condition.status.min", "should be less than or equal to 599"}},
	{name: "a budget below nothing", kind: kindProfile, metadata: webProfile,
		spec:   "retryBudget: {retryRatio: -1, minRetriesPerSecond: 1, ttl: 10s}",
		denies: []string{"spec.retryBudget.retryRatio", "greater than or equal to 0"}},
	{name: "a budget without time", kind: kindProfile, metadata: webProfile,
		spec:   "retryBudget: {retryRatio: 1, minRetriesPerSecond: 1, ttl: ten}",
		denies: []string{"spec.retryBudget.ttl", wantDuration}},
	{name: "a share below nothing", kind: kindProfile, metadata: webProfile,
		spec:   "dstOverrides: [{authority: a, weight: -1}]",
		denies: []string{"spec.dstOverrides[0].weight", "greater than or equal to 0"}},
	{name: "no port", kind: kindProfile, metadata: webProfile, spec: "opaquePorts: [mysql]",
		denies: []string{"spec.opaquePorts[0]", "want a port such as '3306'"}},
}

const (
	kindServer    = "policy.linkerd.io/v1beta3 Server"
	kindRateLimit = "policy.linkerd.io/v1alpha1 HTTPLocalRateLimitPolicy"
	onServer      = "targetRef: {group: policy.linkerd.io, kind: Server, name: a}, "
)

var serverJudgements = []judgement{
	{name: "a port by name", kind: kindServer,
		spec: "podSelector: {}, port: http, proxyProtocol: HTTP/2, accessPolicy: audit"},
	{name: "workloads outside", kind: "policy.linkerd.io/v1beta2 Server",
		spec: "externalWorkloadSelector: {matchLabels: {a: b}}, port: 80"},
	{name: "expressions", kind: "policy.linkerd.io/v1beta1 Server",
		spec: "podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}, port: 80"},
	{name: "the oldest version", kind: "policy.linkerd.io/v1alpha1 Server",
		spec: "podSelector: {matchLabels: {a: b}}, port: 80", warns: []string{"deprecated"}},
	{name: "both selectors", kind: kindServer, spec: "podSelector: {}, externalWorkloadSelector: {}, port: 80",
		denies: []string{"spec", "want either podSelector or externalWorkloadSelector"}},
	{name: "no selector", kind: kindServer, spec: "port: 80",
		denies: []string{"podSelector: {} selects every pod of the namespace"}},
	{name: "a number in quotes", kind: kindServer, spec: `podSelector: {}, port: "8080"`,
		denies: []string{"spec.port", "without quotes"}},
	{name: "a port beyond ports", kind: kindServer, spec: "podSelector: {}, port: 65536",
		denies: []string{"spec.port", "from 1 to 65535"}},
	{name: "no protocol", kind: kindServer, spec: "podSelector: {}, port: 80, proxyProtocol: http",
		denies: []string{`spec.proxyProtocol: Unsupported value: "http"`, `"HTTP/1"`}},
	{name: "no access policy", kind: kindServer, spec: "podSelector: {}, port: 80, accessPolicy: allow",
		denies: []string{`spec.accessPolicy: Unsupported value: "allow"`, `"all-authenticated"`}},
	{name: "an invented field", kind: kindServer, spec: "podSelector: {}, port: 80, clientAuth: {mode: REQUIRED}",
		denies: []string{`unknown field "spec.clientAuth"`}},

	{name: "bounds", kind: kindRateLimit, spec: onServer + `total: {requestsPerSecond: 100}, identity: {requestsPerSecond: 1.67},
		overrides: [{requestsPerSecond: 50, clientRefs: [{kind: ServiceAccount, name: a, namespace: b}]}]`},
	{name: "no bound", kind: kindRateLimit, spec: "targetRef: {group: policy.linkerd.io, kind: Server, name: a}",
		warns: []string{"spec: nothing is limited: add total, identity or overrides"}},
	{name: "no Server", kind: kindRateLimit, spec: "targetRef: {kind: Service, name: a}, total: {requestsPerSecond: 1}",
		denies: []string{"spec.targetRef", "want group policy.linkerd.io and kind Server"}},
	{name: "nothing a second", kind: kindRateLimit, spec: onServer + "total: {requestsPerSecond: 0}",
		denies: []string{"spec.total.requestsPerSecond", "want more than 0"}},
	{name: "one client above all", kind: kindRateLimit, spec: onServer +
		"total: {requestsPerSecond: 1}, identity: {requestsPerSecond: 2}",
		denies: []string{"spec.identity.requestsPerSecond", "lower identity or raise total"}},
	{name: "an override above all", kind: kindRateLimit,
		spec: onServer +
			"total: {requestsPerSecond: 1}, overrides: [{requestsPerSecond: 2, clientRefs: [{kind: ServiceAccount, name: a}]}]",
		denies: []string{"spec.overrides", "lower the override or raise total"}},
	{name: "an override for no client", kind: kindRateLimit, spec: onServer +
		"overrides: [{requestsPerSecond: 2, clientRefs: [{kind: Pod, name: a}]}]",
		denies: []string{"spec.overrides[0].clientRefs[0]", "want kind ServiceAccount"}},
}

const (
	kindServerAuthorization = "policy.linkerd.io/v1beta1 ServerAuthorization"
	kindPolicy              = "policy.linkerd.io/v1alpha1 AuthorizationPolicy"
	kindMeshTLS             = "policy.linkerd.io/v1alpha1 MeshTLSAuthentication"
	kindNetworks            = "policy.linkerd.io/v1alpha1 NetworkAuthentication"
)

var clientJudgements = []judgement{
	{name: "identities", kind: kindServerAuthorization, spec: `server: {selector: {matchLabels: {a: b}}}, client: {networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.1]}],
		meshTLS: {identities: ["*", "*.shop.serviceaccount.identity.linkerd.cluster.local", spiffe://cluster.local/ns/a/sa/b, cluster.local/ns/a/sa/b]}}`},
	{name: "everybody of a network", kind: kindServerAuthorization,
		spec: "server: {name: a}, client: {unauthenticated: true, networks: [{cidr: 10.0.0.0/8}]}"},
	{name: "the oldest version", kind: "policy.linkerd.io/v1alpha1 ServerAuthorization",
		spec:  "server: {name: a}, client: {meshTLS: {unauthenticatedTLS: true}}",
		warns: []string{"deprecated"}},
	{name: "name and selector", kind: kindServerAuthorization,
		spec:   "server: {name: a, selector: {}}, client: {meshTLS: {unauthenticatedTLS: true}}",
		denies: []string{"spec.server", "want either the name of a Server or a selector"}},
	{name: "nobody", kind: kindServerAuthorization, spec: "server: {name: a}, client: {}",
		denies: []string{"spec.client", "nobody is let in: add meshTLS"}},
	{name: "everybody with an identity", kind: kindServerAuthorization,
		spec:   "server: {name: a}, client: {unauthenticated: true, meshTLS: {identities: ['*']}}",
		denies: []string{"spec.client", "remove one of the two"}},
	{name: "mesh TLS with nothing", kind: kindServerAuthorization, spec: "server: {name: a}, client: {meshTLS: {}}",
		denies: []string{"spec.client.meshTLS", "add identities or serviceAccounts"}},
	{name: "no identity of somebody", kind: kindServerAuthorization,
		spec:   "server: {name: a}, client: {meshTLS: {unauthenticatedTLS: true, identities: ['*']}}",
		denies: []string{"spec.client.meshTLS", "unauthenticatedTLS asks for no identity"}},

	{name: "a client of a network", kind: kindPolicy, spec: onServer + `requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: a},
		{group: policy.linkerd.io, kind: NetworkAuthentication, name: b}]`},
	{name: "a ServiceAccount on a route", kind: kindPolicy,
		spec: "targetRef: {group: gateway.networking.k8s.io, kind: GRPCRoute, name: a}, requiredAuthenticationRefs: " +
			"[{kind: ServiceAccount, name: a}]"},
	{name: "everybody", kind: kindPolicy, spec: onServer + "requiredAuthenticationRefs: []",
		warns: []string{"spec.requiredAuthenticationRefs: an empty list lets in every client"}},
	{name: "another namespace", kind: kindPolicy,
		spec: "targetRef: {kind: Namespace, name: production}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: a}]",
		denies: []string{"spec.targetRef.name: a policy lets clients in to its own namespace, shop",
			"make it in namespace production"}},
	{name: "a target of no group", kind: kindPolicy,
		spec:   "targetRef: {kind: Server, name: a}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: a}]",
		denies: []string{"spec.targetRef", "want kind Server or HTTPRoute of group policy.linkerd.io"}},
	{name: "two identities at once", kind: kindPolicy, spec: onServer +
		"requiredAuthenticationRefs: [{kind: ServiceAccount, name: a}, {kind: ServiceAccount, name: b}]",
		denies: []string{"spec.requiredAuthenticationRefs", "list them in one MeshTLSAuthentication"}},
	{name: "an authentication of no kind", kind: kindPolicy, spec: onServer +
		"requiredAuthenticationRefs: [{kind: MeshTLS, name: a}]",
		denies: []string{"spec.requiredAuthenticationRefs[0]", "want kind MeshTLSAuthentication or NetworkAuthentication"}},

	{name: "references", kind: kindMeshTLS,
		spec: "identityRefs: [{kind: Namespace, name: a}, {kind: ServiceAccount, name: a}, {kind: ServiceAccount}]"},
	{name: "both lists", kind: kindMeshTLS, spec: "identities: ['*'], identityRefs: [{kind: ServiceAccount, name: a}]",
		denies: []string{"want either identities or identityRefs"}},
	{name: "no list", kind: kindMeshTLS, spec: "", denies: []string{"want either identities or identityRefs"}},
	{name: "an empty list", kind: kindMeshTLS, spec: "identities: []",
		denies: []string{"spec.identities", "at least 1 items"}},
	{name: "no identity", kind: kindMeshTLS, spec: "identities: ['web/shop']",
		denies: []string{"spec.identities[0]", "want an identity such as"}},
	{name: "a Namespace without name", kind: kindMeshTLS, spec: "identityRefs: [{kind: Namespace}]",
		denies: []string{"spec.identityRefs[0]", "add name"}},
	{name: "a Pod", kind: kindMeshTLS, spec: "identityRefs: [{kind: Pod, name: a}]",
		denies: []string{"spec.identityRefs[0]", "want kind ServiceAccount or Namespace"}},

	{name: "both families", kind: kindNetworks,
		spec: "networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidr: fd00::/8}, {cidr: 192.0.2.1}]"},
	{name: "no network", kind: kindNetworks, spec: "networks: []", denies: []string{"spec.networks", "at least 1 items"}},
	{name: "no address", kind: kindNetworks, spec: "networks: [{cidr: 10.0.0.0/33}]",
		denies: []string{"spec.networks[0].cidr", "want a network such as 10.0.0.0/8"}},
	{name: "an exception outside", kind: kindNetworks, spec: "networks: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]",
		denies: []string{"spec.networks[0].except", "has to lie within cidr"}},
	{name: "an exception of all", kind: kindNetworks, spec: "networks: [{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}]",
		denies: []string{"spec.networks[0].except", "remove the network instead"}},
}

const (
	kindOwnRoute  = "policy.linkerd.io/v1beta3 HTTPRoute"
	kindHTTPRoute = "gateway.networking.k8s.io/v1 HTTPRoute"
	kindGRPCRoute = "gateway.networking.k8s.io/v1 GRPCRoute"
	ofWeb         = "parentRefs: [{group: core, kind: Service, name: web, port: 80}], "
	toWeb         = "backendRefs: [{name: web, port: 80}]"
	wantRE2       = "want a regular expression of the RE2 syntax"
)

var routeJudgements = []judgement{
	{name: "a Server's, by default", kind: "policy.linkerd.io/v1alpha1 HTTPRoute",
		spec: "parentRefs: [{name: a}], rules: [{matches: [{path: {value: /a}}]}]"},
	{name: "timeouts", kind: "policy.linkerd.io/v1beta1 HTTPRoute", spec: ofWeb +
		"rules: [{timeouts: {request: 1m30s, backendRequest: 500ms}, " + toWeb + "}]"},
	{name: "annotations", kind: kindHTTPRoute, metadata: `name: a, namespace: shop, annotations: {retry.linkerd.io/http: "5xx, gateway-error,409-410", retry.linkerd.io/limit: "2",
		retry.linkerd.io/timeout: 300ms, timeout.linkerd.io/request: 1m30s, retry.linkerd.io/grpc: "internal, unavailable"}`, spec: ofWeb + "rules: [{" + toWeb + "}]"},
	{name: "group core", kind: kindGRPCRoute, spec: ofWeb + "rules: [{" + toWeb + "}]"},
	{name: "a Gateway's, whose expressions are its own", kind: kindHTTPRoute,
		spec: "parentRefs: [{name: gw}], rules: [{matches: [{path: {type: RegularExpression, value: '(?=x)'}}], " + toWeb +
			"}]"},

	{name: "a Service of no group", kind: kindOwnRoute, spec: "parentRefs: [{kind: Service, name: web}], rules: [{" +
		toWeb + "}]",
		denies: []string{"spec.parentRefs[0]", "add group: core"}},
	{name: "a Service of no group", kind: kindHTTPRoute, spec: "parentRefs: [{kind: Service, name: web}], rules: [{" +
		toWeb + "}]",
		denies: []string{"spec.parentRefs", "add group: core"}},
	{name: "no parent of the mesh", kind: kindOwnRoute, spec: "parentRefs: [{kind: Pod, name: web}]",
		denies: []string{"spec.parentRefs[0]", "want kind Server"}},
	{name: "egress without port", kind: kindOwnRoute, spec: "parentRefs: [{kind: EgressNetwork, name: web}]",
		denies: []string{"spec.parentRefs[0]", "add the port that the route is for"}},
	{name: "a backend without port", kind: kindOwnRoute, spec: ofWeb + "rules: [{backendRefs: [{name: web}]}]",
		denies: []string{"spec.rules[0].backendRefs[0]", "add the port to send to"}},
	{name: "a backend without port, of group core", kind: kindHTTPRoute, spec: ofWeb +
		"rules: [{backendRefs: [{group: core, name: web}]}]",
		denies: []string{"spec.rules.backendRefs", "add the port to send to"}},
	{name: "a lesser timeout for more", kind: kindOwnRoute, spec: ofWeb +
		"rules: [{timeouts: {request: 1s, backendRequest: 2s}, " + toWeb + "}]",
		denies: []string{"spec.rules[0].timeouts", "backendRequest timeout cannot be longer than request timeout"}},
	{name: "a timeout below nothing", kind: kindOwnRoute, spec: ofWeb + "rules: [{timeouts: {request: -1s}, " + toWeb +
		"}]",
		denies: []string{"spec.rules[0].timeouts.request", "should match"}},
	{name: "a path from nowhere", kind: kindOwnRoute, spec: ofWeb + "rules: [{matches: [{path: {value: a}}], " + toWeb +
		"}]",
		denies: []string{"spec.rules[0].matches[0].path", "must be an absolute path"}},
	{name: "a path that is not an expression", kind: kindOwnRoute, spec: ofWeb +
		"rules: [{matches: [{path: {type: RegularExpression, value: '/['}}], " + toWeb + "}]",
		denies: []string{"spec.rules[0].matches[0].path", "missing closing ]", wantRE2}},
	{name: "a path that is not an expression", kind: kindHTTPRoute, spec: ofWeb +
		"rules: [{matches: [{path: {type: RegularExpression, value: '/['}}], " + toWeb + "}]",
		denies: []string{"spec_rules_matches_path", "missing closing ]"}},
	{name: "a header that is not an expression", kind: kindOwnRoute, spec: ofWeb +
		"rules: [{matches: [{headers: [{type: RegularExpression, name: a, value: '('}]}], " + toWeb + "}]",
		denies: []string{"spec_rules_matches_headers", "missing closing )"}},
	{name: "a method that is not an expression", kind: kindGRPCRoute, spec: ofWeb +
		"rules: [{matches: [{method: {type: RegularExpression, service: '('}}], " + toWeb + "}]",
		denies: []string{"spec_rules_matches_method", "missing closing )"}},
	{name: "what the mesh does not do", kind: kindOwnRoute, spec: ofWeb + "rules: [{sessionPersistence: {}, " + toWeb +
		"}]", denies: []string{`unknown field "spec.rules[0].sessionPersistence"`}},
	{name: "statuses of an annotation", kind: kindHTTPRoute,
		metadata: `name: a, namespace: shop, annotations: {retry.linkerd.io/http: "6xx"}`, spec: ofWeb + "rules: [{" + toWeb +
			"}]",
		denies: []string{"annotation retry.linkerd.io/http", `"6xx" is not a list of statuses`, "gateway-error"}},
	{name: "an annotation that is none", kind: kindGRPCRoute,
		metadata: `name: a, namespace: shop, annotations: {retry.linkerd.io/codes: "13"}`, spec: ofWeb + "rules: [{" + toWeb +
			"}]",
		denies: []string{
			"annotation retry.linkerd.io/codes: there is no such annotation: want retry.linkerd.io/ http, grpc, limit or " +
				"timeout"}},
	{name: "a fault without end", kind: kindHTTPRoute,
		metadata: `name: a, namespace: shop, annotations: {fault.tulle.dev/abort-http: "503"}`, spec: ofWeb + "rules: [{" +
			toWeb + "}]",
		denies: []string{"annotation fault.tulle.dev/until", "want the time when it does"}},
}

const (
	kindService = "v1 Service"
	port80      = "ports: [{port: 80}]"
)

// A Service can always be written.
var serviceJudgements = []judgement{
	{name: "annotations", kind: kindService, metadata: `name: a, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual: consecutive,
		balancer.linkerd.io/failure-accrual-consecutive-max-failures: "3", balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio: "0.2",
		balancer.linkerd.io/failure-accrual-consecutive-max-penalty: 10s, timeout.linkerd.io/idle: 1d}`, spec: port80},
	{name: "a timeout without unit", kind: kindService,
		metadata: `name: a, namespace: shop, annotations: {timeout.linkerd.io/response: "5"}`, spec: port80,
		warns: []string{`annotation timeout.linkerd.io/response: "5" is not a duration`, "such as 500ms or 1m30s"}},
	{name: "no way to tell failing endpoints", kind: kindService,
		metadata: `name: a, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual: always}`, spec: port80,
		warns: []string{"annotation balancer.linkerd.io/failure-accrual", "want consecutive or unified"}},
	{name: "no failures", kind: kindService, metadata: `name: a, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual: consecutive,
		balancer.linkerd.io/failure-accrual-consecutive-max-failures: "0"}`, spec: port80, warns: []string{"max-failures", "want a number from 1 on"}},
	{name: "no number of retries", kind: kindService,
		metadata: `name: a, namespace: shop, annotations: {retry.linkerd.io/limit: "many"}`, spec: port80,
		warns: []string{"annotation retry.linkerd.io/limit", "want a number such as 2"}},
	{name: "a gRPC status that says the same twice", kind: kindService,
		metadata: `name: a, namespace: shop, annotations: {retry.linkerd.io/grpc: not-found}`, spec: port80,
		warns: []string{"annotation retry.linkerd.io/grpc", "resource-exhausted"}},
}

// What is too large for anybody to read is refused before it costs a controller or a proxy anything.
var hugeJudgements = []judgement{
	{name: "an expression of 100,000 characters", kind: kindProfile, metadata: webProfile,
		spec:   "routes: [{name: a, condition: {pathRegex: '/" + strings.Repeat("a?", 50_000) + "'}}]",
		denies: []string{"spec.routes[0].condition.pathRegex: Too long: may not be more than 4096"}},
	{name: "an expression of 100,000 characters", kind: kindOwnRoute,
		spec: ofWeb + "rules: [{matches: [{path: {type: RegularExpression, value: '/" + strings.Repeat("a?", 50_000) +
			"'}}], " + toWeb + "}]",
		denies: []string{"spec.rules[0].matches[0].path.value: Too long: may not be more than 1024"}},
	{name: "an expression of 100,000 characters", kind: kindHTTPRoute,
		spec: ofWeb + "rules: [{matches: [{headers: [{type: RegularExpression, name: a, value: '" +
			strings.Repeat("a?", 50_000) + "'}]}], " + toWeb + "}]",
		denies: []string{"spec.rules[0].matches[0].headers[0].value: Too long: may not be more than 4096"}},
	{name: "10,000 routes", kind: kindProfile, metadata: webProfile,
		spec:   "routes: [" + strings.Repeat("{name: a, condition: {method: GET}}, ", 10_000) + "]",
		denies: []string{"spec.routes: Too many: 10000: must have at most 1000 items"}},
	{name: "10,000 rules", kind: kindOwnRoute, spec: ofWeb + "rules: [" + strings.Repeat("{"+toWeb+"}, ", 10_000) + "]",
		denies: []string{"spec.rules: Too many: 10000: must have at most 16 items"}},
	{name: "10,000 rules", kind: kindHTTPRoute, spec: ofWeb + "rules: [" + strings.Repeat("{"+toWeb+"}, ", 10_000) + "]",
		denies: []string{"spec.rules: Too many: 10000: must have at most 16 items"}},
	{name: "10,000 rules", kind: kindGRPCRoute, spec: ofWeb + "rules: [" + strings.Repeat("{"+toWeb+"}, ", 10_000) + "]",
		denies: []string{"spec.rules: Too many: 10000: must have at most 16 items"}},
	{name: "10,000 identities", kind: kindMeshTLS, spec: "identities: [" + strings.Repeat("'*', ", 10_000) + "]",
		denies: []string{"spec.identities: Too many: 10000: must have at most 1024 items"}},
	{name: "10,000 networks", kind: kindNetworks, spec: "networks: [" + strings.Repeat("{cidr: 10.0.0.0/8}, ", 10_000) +
		"]",
		denies: []string{"spec.networks: Too many: 10000: must have at most 256 items"}},
	{name: "10,000 overrides", kind: kindRateLimit,
		spec: onServer + "overrides: [" + strings.Repeat(
			"{requestsPerSecond: 2, clientRefs: [{kind: ServiceAccount, name: a}]}, ", 10_000) + "]",
		denies: []string{"spec.overrides: Too many: 10000: must have at most 256 items"}},
}

// What was written in an old version is read in the newest with its defaults, and the short names are Linkerd's.
func testVersionsAreOneObject(t *testing.T) {
	old := judgement{kind: "policy.linkerd.io/v1beta1 Server", spec: "podSelector: {matchLabels: {a: b}}, port: http"}
	if _, err := kubectlIn(old.manifest(), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	got := mustKubectl(t, "-n", "shop", "get", "servers.v1beta3.policy.linkerd.io", "a", "-o",
		"jsonpath={.spec.port} {.spec.proxyProtocol} {.spec.accessPolicy}")
	if want := "http unknown deny"; got != want {
		t.Errorf("read %q in the newest version, want %q", got, want)
	}
	if got := mustKubectl(t, "-n", "shop", "get", "srv"); !strings.Contains(got, "ACCESS POLICY") {
		t.Errorf("the table of Servers is\n%s", got)
	}
	for _, short := range []string{"sp", "saz", "serverauthz", "srvauthz", "authzpolicy", "meshtlsauthn", "netauthn",
		"networkauthn"} {
		mustKubectl(t, "-n", "shop", "get", short)
	}
}
