package viz

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metricsapi"
	"github.com/tulle-mesh/tulle/viz/routes"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// proxies is the shop with a source that reads the proxies: nothing at first, and a window later the text of the pod's
// file in testdata/proxies, with replaced words if there are any.
func proxies(t *testing.T, replace ...string) *bed {
	t.Helper()
	b := shop(t)
	for _, p := range b.pods {
		if app := p.Labels["app"]; app != "" {
			p.Labels["linkerd.io/proxy-deployment"] = app
		}
	}
	b.objects = append(b.objects, object("apps/v1", "Deployment", "shop", "api-v2"),
		object("v1", "Service", "shop", "books"), object("apps/v1", "Deployment", "shop", "books"),
		object("v1", "Namespace", "", "bank"), object("v1", "Service", "bank", "ledger"),
		object("apps/v1", "Deployment", "bank", "ledger"))
	read := map[string]bool{}
	b.from = scrape.New(scrape.Config{Parallel: 1,
		Pods: func(_ context.Context, namespace string) (pods []*corev1.Pod, err error) {
			for _, p := range b.pods {
				if namespace == "" || p.Namespace == namespace {
					pods = append(pods, p)
				}
			}
			return pods, nil
		},
		Open: func(_ context.Context, pod *corev1.Pod, _ int) (io.ReadCloser, error) {
			key := pod.Namespace + "/" + pod.Name
			text, err := os.ReadFile(filepath.Join("testdata", "proxies", pod.Name+".txt"))
			if err != nil || !read[key] || pod.Namespace != "shop" {
				text = []byte("# TYPE tulle_goroutines gauge\ntulle_goroutines 9\n")
			}
			read[key] = true
			return io.NopCloser(strings.NewReader(strings.NewReplacer(replace...).Replace(string(text)))), nil
		}})
	return b
}

// runProxies runs a command in a bubble, because it waits for its window.
func runProxies(t *testing.T, namespace, args string, replace ...string) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r = proxies(t, replace...).run(t, namespace, strings.Fields(args)...)
	})
	return r
}

// TestScrapedCommands holds every column and every JSON key against its golden file.
func TestScrapedCommands(t *testing.T) {
	for name, args := range map[string]string{
		"stat-inbound":           "stat-inbound deploy",
		"stat-inbound-api":       "stat-inbound deploy/api -t 2m",
		"stat-inbound-all":       "stat-inbound deploy -A",
		"stat-inbound-kinds":     "stat-inbound deploy/api rs/api-5d8f7c ns/shop po/api-5d8f7c-a",
		"stat-inbound-selector":  "stat-inbound deploy -l app=web",
		"stat-inbound-json":      "stat-inbound deploy/api -o json",
		"stat-outbound":          "stat-outbound deploy",
		"stat-outbound-all":      "stat-outbound deploy -A",
		"stat-outbound-pod":      "stat-outbound po web-5d8f7c-a",
		"stat-outbound-json":     "stat-outbound deploy/web -o json",
		"stat-outbound-no-json":  "stat-outbound sts -o json",
		"routes-service":         "routes svc/api",
		"routes-services":        "routes svc",
		"routes-services-json":   "routes svc -o json",
		"routes-authority":       "routes au/api.shop.svc.cluster.local:80",
		"routes-authorities":     "routes au -o json",
		"routes-deploy":          "routes deploy/api",
		"routes-deploys":         "routes deploy",
		"routes-canary":          "routes deploy/api-v2 -o wide",
		"routes-to-service":      "routes deploy/web --to svc/books",
		"routes-to-services":     "routes deploy/web --to svc -o wide",
		"routes-to-deploy":       "routes deploy/web --to deploy/books",
		"routes-to-pod":          "routes po --to po/api-5d8f7c-a",
		"routes-to-namespace":    "routes rs --to-namespace shop",
		"routes-to-other":        "routes deploy/web --to deploy/ledger --to-namespace bank",
		"routes-to-authorities":  "routes ns/shop --to au",
		"routes-to-authority":    "routes deploy/web --to au/plain.shop.svc.cluster.local",
		"routes-to-json":         "routes deploy/web --to deploy/api -o json",
		"routes-sort-p99":        "routes deploy/web --to svc --sort p99",
		"routes-sort-rps":        "routes deploy/web --to svc --sort rps",
		"routes-sort-success":    "routes deploy/web --to svc --sort success",
		"routes-no-json":         "routes sts -o json",
		"authz":                  "authz deploy",
		"authz-all":              "authz ns -A",
		"authz-json":             "authz deploy/api -o json",
		"authz-pods":             "authz po",
		"authz-json-without-any": "authz deploy/web -o json",
	} {
		t.Run(name, func(t *testing.T) { golden(t, name+".txt", runProxies(t, "shop", args)) })
	}
}

// TestAuthzShowsAuthorizationsWithoutRequests has a pod whose Server and routes admit more than was seen.
func TestAuthzShowsAuthorizationsWithoutRequests(t *testing.T) {
	allow := func(kind, name string) mesh.Authorization {
		return mesh.Authorization{Ref: mesh.Ref{Kind: kind, Namespace: "shop", Name: name}}
	}
	route := func(name string, list ...mesh.Authorization) (r mesh.InboundRoute) {
		r.Route.Ref, r.Authorizations = mesh.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: name}, list
		return r
	}
	policy := &mesh.Inbound{Ports: map[uint16]mesh.PortPolicy{
		8080: {Server: mesh.Ref{Namespace: "shop", Name: "api-http"},
			Authorizations: []mesh.Authorization{allow("ServerAuthorization", "old")},
			Routes:         []mesh.InboundRoute{route("api-get", allow("AuthorizationPolicy", "web-only")), route("idle")}},
		9090: {Server: mesh.Ref{Namespace: "shop", Name: "api-db"},
			Authorizations: []mesh.Authorization{allow("AuthorizationPolicy", "clerks")}},
	}}
	for name, args := range map[string]string{"authz-idle": "authz deploy/api",
		"authz-idle-json":      "authz deploy/api -o json",
		"authz-idle-namespace": "authz ns/shop"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := proxies(t)
				b.policies = map[string]*mesh.Inbound{"shop/api-5d8f7c-a": policy}
				golden(t, name+".txt", b.run(t, "shop", strings.Fields(args)...))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := proxies(t)
		b.notConfigured = errors.New("list servers: forbidden")
		r := b.run(t, "shop", "authz", "deploy/api")
		if r.fault != nil || !strings.Contains(r.err,
			"authorizations without requests are not shown: list servers: forbidden") ||
			!strings.Contains(r.out, "web-only") {
			t.Errorf("without rights: stdout %q, stderr %q, error %v", r.out, r.err, r.fault)
		}
	})
}

// TestRoutesWithoutRequests has Services with more routes than have requests.
func TestRoutesWithoutRequests(t *testing.T) {
	for name, args := range map[string]string{
		"routes-idle":         "routes svc",
		"routes-idle-json":    "routes svc/api -o json",
		"routes-idle-success": "routes svc/books --sort success -o wide",
		"routes-idle-to":      "routes deploy --to svc/api",
		"routes-idle-to-json": "routes deploy/web --to svc/api -o json",
		// The route idle leads to api, and not to api-v2.
		"routes-idle-deploys":    "routes deploy",
		"routes-idle-to-deploy":  "routes deploy --to deploy/books",
		"routes-idle-authority":  "routes au/books.shop.svc.cluster.local:80",
		"routes-idle-namespaces": "routes ns/shop",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := proxies(t)
				const api, books = "api.shop.svc.cluster.local:80", "books.shop.svc.cluster.local:80"
				to := func(names ...string) (backends []routes.Service) {
					for _, name := range names {
						backends = append(backends, routes.Service{Namespace: "shop", Name: name})
					}
					return backends
				}
				b.routes = map[string][]routes.Existing{
					"shop/api": {{Authority: api, Route: "canary", Backends: to("api", "api-v2")},
						{Authority: api, Route: "idle", Backends: to("api", "nowhere")}},
					"shop/books": {{Authority: books, Route: "GET /books/{id}", Backends: to("books")},
						{Authority: books, Route: "DELETE /books/{id}", Backends: to("books")}}}
				golden(t, name+".txt", b.run(t, "shop", strings.Fields(args)...))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := proxies(t)
		b.notConfigured = errors.New("list services: forbidden")
		for _, resource := range []string{"svc/api", "deploy/api"} {
			r := b.run(t, "shop", "routes", resource)
			if r.fault != nil || !strings.Contains(r.err, "routes without requests are not shown: list services: forbidden") {
				t.Errorf("%s without rights: stdout %q, stderr %q, error %v", resource, r.out, r.err, r.fault)
			}
		}
	})
}

func TestAuthzCountsNothingTwice(t *testing.T) {
	for _, args := range []string{"all", "deploy/api ns/shop"} {
		if r := runProxies(t, "shop", "authz "+args); r.fault == nil ||
			!strings.Contains(r.fault.Error(), "name resources of one type") {
			t.Errorf("authz %s: error %v; want that one type is wanted", args, r.fault)
		}
	}
}

func TestScrapedCommandsWithoutTraffic(t *testing.T) {
	for command, args := range map[string]string{"stat-inbound": "plain", "stat-outbound": "plain", "authz": "plain",
		"routes": "web"} {
		for _, args := range []string{" deploy/" + args, " sts", " deploy -l app=" + args} {
			r := runProxies(t, "shop", command+args)
			if r.fault != nil || r.out != "" || !strings.HasSuffix(r.err, "No traffic found.\n") {
				t.Errorf("%s%s: stdout %q, stderr %q, error %v; want No traffic found.", command, args, r.out, r.err, r.fault)
			}
		}
	}
}

func TestScrapedCommandsRefuse(t *testing.T) {
	for _, tt := range []struct{ namespace, args, want string }{
		{"shop", "", "name a resource"},
		{"shop", "deplyo", `resource type "deplyo": unknown; did you mean "deploy"?`},
		{"shop", "svc", "services have no proxies: name a workload, a pod or a namespace"},
		{"shop", "deploy/wep", `deployment "wep": not found in namespace "shop"; did you mean "web"?`},
		{"shob", "deploy", `namespace "shob": not found; did you mean "shop"?`},
		{"shob", "deploy/web", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "ns/shob", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "deploy -t 14s", `--time-window "14s": want at least 15s`},
		{"shop", "deploy -o yaml", `output "yaml": want table or json`},
		{"shop", "deploy -l =", `--selector "=":`},
		{"shop", "deploy/web -A", "exclude each other"},
	} {
		for _, command := range []string{"stat-inbound ", "stat-outbound ", "authz "} {
			r := runProxies(t, tt.namespace, command+tt.args)
			if r.fault == nil || !strings.Contains(r.fault.Error(), tt.want) {
				t.Errorf("%s%s in %s: error %v; want %q", command, tt.args, tt.namespace, r.fault, tt.want)
			}
		}
	}
}

func TestRoutesRefuse(t *testing.T) {
	for _, tt := range []struct{ namespace, args, want string }{
		{"shop", "", "name a resource"},
		{"shop", "all", "name resources of one type"},
		{"shop", "deploy/web svc/api", "name resources of one type"},
		{"shop", "deplyo", `resource type "deplyo": unknown; did you mean "deploy"?`},
		{"shop", "srv", "servers have no routes to show"},
		{"shop", "httproutes", "httproutes have no routes to show"},
		{"shop", "svc/apii", `service "apii": not found in namespace "shop"; did you mean "api"?`},
		{"shop", "deploy/wep", `deployment "wep": not found in namespace "shop"; did you mean "web"?`},
		{"shob", "svc", `namespace "shob": not found; did you mean "shop"?`},
		{"shob", "deploy", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "deploy --to deploy/apii", `--to: deployment "apii": not found in namespace "shop"; did you mean "api"?`},
		{"shop", "deploy --to svc/apii", `--to: service "apii": not found in namespace "shop"; did you mean "api"?`},
		{"shop", "deploy --to deploy/api --to-namespace shob", `--to: namespace "shob": not found; did you mean "shop"?`},
		{"shop", "deploy --to srv/x", "--to: servers have no routes to show"},
		{"shop", "svc --to deploy/api", "--to does not work for services"},
		{"shop", "au -l app=web", "--selector does not work for authorities"},
		{"shop", "deploy --sort p50", `--sort "p50": want p99, rps, success`},
		{"shop", "deploy -t 14s", `--time-window "14s": want at least 15s`},
		{"shop", "deploy -o yaml", `output "yaml": want table, wide or json`},
		{"shop", "deploy -l =", `--selector "=":`},
	} {
		r := runProxies(t, tt.namespace, "routes "+tt.args)
		if r.fault == nil || !strings.Contains(r.fault.Error(), tt.want) {
			t.Errorf("routes %s in %s: error %v; want %q", tt.args, tt.namespace, r.fault, tt.want)
		}
	}
}

// TestScrapedCommandsWriteHostileNames takes names that no API server accepts, but that a label's value can be.
func TestScrapedCommandsWriteHostileNames(t *testing.T) {
	hostile := `a\"b\n` + "\x1b[31m\u202e"
	for name, tt := range map[string]struct{ args, word string }{
		"stat-inbound-hostile":       {"stat-inbound deploy", `"api-get"`},
		"stat-inbound-hostile-json":  {"stat-inbound deploy -o json", `"api-get"`},
		"stat-outbound-hostile":      {"stat-outbound deploy", `"canary"`},
		"stat-outbound-hostile-json": {"stat-outbound deploy -o json", `"canary"`},
		"routes-hostile":             {"routes deploy/web --to svc", `"canary"`},
		"routes-hostile-json":        {"routes deploy/web --to svc -o json", `"canary"`},
		"routes-hostile-authority":   {"routes au", `"api.shop.svc.cluster.local:80"`},
		"authz-hostile":              {"authz deploy", `"web-only"`},
		"authz-hostile-json":         {"authz deploy -o json", `"web-only"`},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", runProxies(t, "shop", tt.args, tt.word, `"`+hostile+`"`))
		})
	}
	if r := runProxies(t, "shop", "authz deploy/web\x1b"); r.fault == nil || strings.Contains(r.fault.Error(), "\x1b") {
		t.Errorf("got %v, want an error without control characters", r.fault)
	}
}

// TestAllLeavesOutWhatHasNoProxy names every kind and expects the rows of those with pods.
func TestAllLeavesOutWhatHasNoProxy(t *testing.T) {
	r := runProxies(t, "shop", "stat-inbound all")
	var names []string
	for line := range strings.Lines(r.out) {
		name := strings.Fields(line)[0]
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	if diff := cmp.Diff([]string{"NAME", "deploy/api", "po/api-5d8f7c-a"}, names); r.fault != nil || diff != "" {
		t.Errorf("error %v, names (-want +got):\n%s", r.fault, diff)
	}
}

// TestMetricsAPITakesTheLargestQuestion asks stat-outbound, which needs the most queries, for every kind of workload.
func TestMetricsAPITakesTheLargestQuestion(t *testing.T) {
	b := shop(t)
	args := []string{"stat-outbound", "ns/shop", "deploy/web", "rs/web-5d8f7c", "po/web-5d8f7c-a"}
	for _, o := range []*metav1.PartialObjectMetadata{
		object("apps/v1", "StatefulSet", "shop", "x"), object("apps/v1", "DaemonSet", "shop", "x"),
		object("batch/v1", "Job", "shop", "x"), object("batch/v1", "CronJob", "shop", "x"),
		object("v1", "ReplicationController", "shop", "x"),
	} {
		b.objects = append(b.objects, o)
		args = append(args, strings.ToLower(o.Kind)+"/x")
	}
	if r := b.run(t, "shop", args...); r.fault != nil {
		t.Fatal(r.fault)
	}
	if n := len(b.source.Asked); n < 10*(len(args)-1) || n > metricsapi.MaxQueries {
		t.Errorf("%d queries for %d kinds; metrics-api takes %d", n, len(args)-1, metricsapi.MaxQueries)
	}
}
