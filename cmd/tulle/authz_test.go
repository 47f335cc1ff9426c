package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// policies lets two callers in to the Server of web's pods, a third to one route, and none to the Server admin.
const policies = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, port: 8080, proxyProtocol: HTTP/1}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: admin, namespace: shop}
spec: {podSelector: {}, port: 9090, accessPolicy: audit}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: web}
  requiredAuthenticationRefs:
  - {kind: ServiceAccount, name: cart}
  - {group: policy.linkerd.io, kind: NetworkAuthentication, name: cluster}
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: reads, namespace: shop}
spec: {parentRefs: [{name: web}], rules: [{matches: [{method: GET, path: {value: /items}}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: shop}
spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: reads}, requiredAuthenticationRefs: []}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata: {name: cluster, namespace: shop}
spec: {networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidr: "fd00::/8"}]}
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {name: ops, namespace: shop}
spec: {server: {name: web}, client: {meshTLS: {identities: ["*.ops.serviceaccount.identity.linkerd.cluster.local"]}}}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {name: web, namespace: shop}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: web}, total: {requestsPerSecond: 100}}
`

// guardedShop is the shop with policies.
func guardedShop(t *testing.T, manifest string) *fakeCluster {
	t.Helper()
	f := shop(t)
	for doc := range strings.SplitSeq(manifest, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			t.Fatal(err)
		}
		f.untyped = append(f.untyped, u)
	}
	return f
}

func TestAuthz(t *testing.T) {
	f := guardedShop(t, policies)
	golden(t, "authz.txt", runCLI(t, f.connect, "", "-n", "shop", "authz", "deploy/web"))
	golden(t, "authz_json.txt", runCLI(t, f.connect, "", "-n", "shop", "authz", "deploy", "web", "-o", "json"))
	golden(t, "authz_none.txt", runCLI(t, shop(t).connect, "", "-n", "shop", "authz", "deploy/web"))
}

// TestVizRowsWithoutTraffic asks a Prometheus that saw nothing: the rows are those of the policies and routes that
// exist.
func TestVizRowsWithoutTraffic(t *testing.T) {
	f := guardedShop(t, policies+`---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: items, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: web, port: 80}], rules: [{matches: [{path: {value: /items}}]}]}
`)
	for _, of := range [][3]string{{"v1", "Namespace", "shop"}, {"apps/v1", "Deployment", "web"},
		{"v1", "Service", "web"}} {
		o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: of[0], Kind: of[1]}}
		if o.Name = of[2]; of[1] != "Namespace" {
			o.Namespace = "shop"
		}
		f.resources = append(f.resources, o)
	}
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	t.Cleanup(empty.Close)
	for args, want := range map[string]string{
		"authz deploy/web": "calls web serverauthorization/ops, reads web authorizationpolicy/readers",
		"routes svc/web":   "items web -",
	} {
		r := runCLI(t, f.connect, "", append(strings.Fields("-n shop viz "+args), "--prometheusURL", empty.URL)...)
		text := strings.Join(strings.Fields(r.out), " ")
		for part := range strings.SplitSeq(want, ", ") {
			if r.code != 0 || !strings.Contains(text, part) {
				t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %q", args, r.code, r.out, r.err, part)
			}
		}
	}
}

func TestDiagnosticsPolicy(t *testing.T) {
	f := guardedShop(t, policies)
	golden(t, "policy_inbound.txt", runCLI(t, f.connect, "", "-n", "shop", "diagnostics", "policy", "deploy/web", "8080"))
	golden(t, "policy_default.txt", runCLI(t, f.connect, "", "-n", "shop", "diagnostics", "policy", "pod/web-1", "80"))
	golden(t, "policy_outbound.txt",
		runCLI(t, f.connect, "", "-n", "shop", "diagnostics", "policy", "-o", "json", "svc/web", "80"))
	golden(t, "profile_of.txt", runCLI(t, f.connect, "", "diagnostics", "profile", "--from", "shop/web-1", "web.shop:80"))
}

func TestPolicyMistakes(t *testing.T) {
	f := guardedShop(t, policies)
	for line, want := range map[string]string{
		"authz":                                "name one resource",
		"authz web":                            "want kind/name",
		"authz -o xml deploy/web":              "want table or json",
		"diagnostics policy deploy/web":        "name a resource and a port",
		"diagnostics policy deploy/web http":   `port "http": want 1 to 65535`,
		"diagnostics policy -o x deploy/web 1": "want yaml or json",
		"diagnostics policy svc/web 81":        "Service web.shop has no port 81",
		"diagnostics policy svc/db 80":         "no address of its own",
		"diagnostics policy svc/none 80":       "there is no Service none in namespace shop",
		"diagnostics profile":                  "name an authority",
		"diagnostics profile web":              "want name.namespace.svc.cluster.local:port",
	} {
		if r := runCLI(t, f.connect, "", append([]string{"-n", "shop"}, strings.Fields(line)...)...); r.code != 1 ||
			!strings.Contains(r.err, want) {
			t.Errorf("%s: exit code %d, stderr %q; want %q", line, r.code, r.err, want)
		}
	}
}
