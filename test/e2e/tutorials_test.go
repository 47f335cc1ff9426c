package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tutorialNS is the namespace that the manifests of testdata/seeds name.
const tutorialNS = "production"

var (
	checkout = client{tutorialNS, "checkout"}
	frontend = client{tutorialNS, "frontend"}
)

// TestTutorials applies the manifests of tutorials as they are written there, and looks whether what their text
// promises comes true.
func TestTutorials(t *testing.T) {
	mustKubectl(t, "delete", "namespace", tutorialNS, "--ignore-not-found") // of an earlier test
	var all strings.Builder
	fmt.Fprintf(&all,
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, annotations: {linkerd.io/inject: enabled}}\n---\n", tutorialNS)
	for _, c := range []client{checkout, frontend} {
		all.WriteString(deployment(c, 0, "", ""))
	}
	for _, app := range []string{"orders", "orders-stable", "orders-canary", "api-service", "backend"} {
		fmt.Fprintf(&all, "apiVersion: v1\nkind: Service\nmetadata: {name: %[1]s, namespace: %[2]s}\n"+
			"spec: {selector: {app: %[1]s}, ports: [{name: http, port: 8080}, {name: grpc, port: 9090}]}\n---\n", app,
			tutorialNS)
		all.WriteString(deployment(client{tutorialNS, app}, 1, "", ""))
	}
	// The manifest that lets everybody in names this Server and does not show it.
	fmt.Fprintf(&all, "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: backend, namespace: %s}\n"+
		"spec: {podSelector: {matchLabels: {app: backend}}, port: 8080}\n", tutorialNS)
	t.Cleanup(func() { mustKubectl(t, "delete", "namespace", tutorialNS, "--ignore-not-found", "--wait=false") })
	if _, err := kubectlIn([]byte(all.String()), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, "-n", tutorialNS, "rollout", "status", "deployment", "--timeout=180s")

	t.Run("at once", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"a canary gets its share": testTutorialCanary, "a Server and whom it names": testTutorialServer,
			"everybody": testTutorialEverybody, "timeouts of a profile": testTutorialTimeouts,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	t.Run("a profile in place of a route", testTutorialProfile)
	t.Run("policies outlive their definitions", testPoliciesOutliveTheirDefinitions)
}

// The manifests of tutorials, as they are written there: what is valid for Linkerd is accepted without a word, unless
// it does what its author may not mean, and what is not gets an error.
func testManifestsOfTutorials(t *testing.T) {
	for file, want := range map[string][]string{
		"httproute-canary.yaml":       nil,
		"server-orders.yaml":          nil,
		"serviceprofile-orders.yaml":  nil,
		"serviceprofile-retries.yaml": nil,
		"serverauthorization-unauthenticated.yaml": {
			"Warning:", "spec.client.unauthenticated: this opens the Server to every client, plaintext included",
		},
		"security-group.yaml": {`no matches for kind "Server" in version "security.linkerd.io/v1beta1"`},
		"trafficsplit.yaml":   {`no matches for kind "TrafficSplit" in version "split.smi-spec.io/v1alpha1"`},
	} {
		t.Run(file, func(t *testing.T) {
			manifest, err := os.ReadFile(filepath.Join("testdata/seeds", file))
			if err != nil {
				t.Fatal(err)
			}
			said, accepted := dryRun(t, manifest)
			if valid := len(want) != 1; accepted != valid {
				t.Errorf("accepted: %v; kubectl says %s", accepted, said)
			}
			if want == nil && strings.Contains(said, "Warning") {
				t.Errorf("kubectl warns: %s", said)
			}
			for _, w := range want {
				if !strings.Contains(said, w) {
					t.Errorf("kubectl says %s, without %q", said, w)
				}
			}
		})
	}
}

// What tulle convert makes of manifests that are not the mesh's is what the API server takes, whatever namespace it is
// for.
func testConvertedManifests(t *testing.T) {
	files, err := filepath.Glob("../../cmd/tulle/testdata/convert/*.yaml")
	seeds, err2 := filepath.Glob("testdata/seeds/*.yaml")
	if err != nil || err2 != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v, %v", err, err2)
	}
	none := map[string]string{
		"y11-flat.yaml": "no manifest", "y15-monitor.yaml": "a kind of Prometheus' operator",
		"y16-collector.yaml": "a kind of OpenTelemetry's operator",
	}
	namespace := regexp.MustCompile(`(?m)^  namespace: .*$`)
	for _, file := range append(files, seeds...) {
		if none[filepath.Base(file)] != "" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			made, err := run(time.Minute, nil, env.tulle, "convert", file) // an error says that something has no counterpart
			if len(made) == 0 {
				t.Fatal(err)
			}
			made = namespace.ReplaceAll(made, []byte("  namespace: shop"))
			if _, err := kubectlIn(made, "apply", "--dry-run=server", "-f", "-"); err != nil {
				t.Errorf("%v\n%s", err, made)
			}
		})
	}
}

// applySeed applies a manifest of testdata/seeds. One names no namespace.
func applySeed(t *testing.T, file string) {
	t.Helper()
	mustKubectl(t, "-n", tutorialNS, "apply", "-f", filepath.Join("testdata/seeds", file))
}

// awaitAnswers waits until a client gets the wanted answers to calls.
func awaitAnswers(t *testing.T, c client, calls []tableCall, want ...string) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		outcomes, err := c.table(calls)
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			if o.Got != want[i] {
				return fmt.Errorf("%s/%s, %+v: got %s, want %s (%s)", c.namespace, c.deployment, calls[i], o.Got, want[i],
					o.ProxyStatus)
			}
		}
		return nil
	})
}

func tutorialCall(how, host, target string) tableCall {
	port := 8080
	if how == "grpc" {
		port = 9090
	}
	return tableCall{How: how, Addr: fmt.Sprintf("%s.%s:%d", host, tutorialNS, port), Target: target}
}

// behaveSeed tells the pod of a Service how to behave from now on.
func behaveSeed(t *testing.T, host, query string) {
	t.Helper()
	awaitAnswers(t, checkout, []tableCall{tutorialCall("h1", host, "/behave?"+query)}, "204")
}

func testTutorialCanary(t *testing.T) {
	applySeed(t, "httproute-canary.yaml")
	eventually(t, 30*time.Second, func() error {
		got := decode[load](t, checkout.mustApp(t, "load", "-url", "http://orders."+tutorialNS+":8080/", "-count", "1000", "-rate", "250"))
		canary, stable := 0, 0
		for pod, n := range got.Pods {
			switch {
			case strings.HasPrefix(pod, "orders-canary-"):
				canary += n
			case strings.HasPrefix(pod, "orders-stable-"):
				stable += n
			}
		}
		if canary+stable != 1000 || canary < 60 || canary > 140 { // 10 %, and four times what chance makes of it
			return fmt.Errorf("of 1000 requests %d went to the canary and %d to the stable version: %v", canary, stable,
				got.Pods)
		}
		return nil
	})
}

func testTutorialServer(t *testing.T) {
	applySeed(t, "server-orders.yaml")
	call := []tableCall{tutorialCall("grpc", "orders", emptyCall)}
	awaitAnswers(t, frontend, call, "grpc 7")
	awaitAnswers(t, unmeshed, call, "grpc 7")
	awaitAnswers(t, checkout, call, "grpc 0")
}

func testTutorialEverybody(t *testing.T) {
	call := []tableCall{tutorialCall("h1", "backend", "/")}
	awaitAnswers(t, unmeshed, call, "403")
	applySeed(t, "serverauthorization-unauthenticated.yaml")
	awaitAnswers(t, unmeshed, call, "200")
	awaitAnswers(t, frontend, call, "200")
}

// The profile of api-service gives GET /api/users 5 seconds and POST /api/orders 10.
func testTutorialTimeouts(t *testing.T) {
	applySeed(t, "serviceprofile-retries.yaml")
	behaveSeed(t, "api-service", "delay=6s")
	awaitAnswers(t, checkout, []tableCall{tutorialCall("h1", "api-service", "/api/users/7"),
		tutorialCall("h1", "api-service", "POST /api/orders")}, "504", "200")
}

// The profile of orders gives POST 500 milliseconds and GET of one order 200, which is retried where it fails.
func testTutorialProfile(t *testing.T) {
	mustKubectl(t, "-n", tutorialNS, "delete", "httproutes.policy.linkerd.io", "orders-canary")
	applySeed(t, "serviceprofile-orders.yaml")
	calls := func(targets ...string) (list []tableCall) {
		for _, target := range targets {
			list = append(list, tutorialCall("h1", "orders", target))
		}
		return list
	}
	behaveSeed(t, "orders", "delay=350ms")
	awaitAnswers(t, checkout, calls("/orders/7", "POST /orders", "/orders"), "504", "200", "200")
	behaveSeed(t, "orders", "delay=900ms")
	awaitAnswers(t, checkout, calls("/orders/7", "POST /orders", "/orders"), "504", "504", "200")
	for target, want := range map[string]string{"/orders/7": "200", "POST /orders": "503"} {
		behaveSeed(t, "orders", "fail=1&first=1") // the next request fails, and the one after it does not
		if got, err := checkout.table(calls(target)); err != nil || got[0].Got != want {
			t.Errorf("%s, which fails once: got %v, %v; want %s", target, got, err, want)
		}
	}
}

// testPoliciesOutliveTheirDefinitions removes the definitions of Server and ServerAuthorization, and with them all
// objects of these kinds. The policies stay active, and a metric reports it.
func testPoliciesOutliveTheirDefinitions(t *testing.T) {
	kinds := map[string]string{"Server": "servers.policy.linkerd.io",
		"ServerAuthorization": "serverauthorizations.policy.linkerd.io"}
	call := []tableCall{tutorialCall("grpc", "orders", emptyCall)}
	inForce := func() {
		t.Helper()
		for c, want := range map[client]string{checkout: "grpc 0", frontend: "grpc 7", unmeshed: "grpc 7"} {
			outcomes, err := c.table(call)
			if err != nil || outcomes[0].Got != want {
				t.Errorf("%s/%s got %v, %v; want %s", c.namespace, c.deployment, outcomes, err, want)
			}
		}
	}
	missing := func(want float64) error {
		for kind := range kinds {
			series := fmt.Sprintf(`tulle_kube_kind_missing{group="policy.linkerd.io",kind=%q}`, kind)
			if got := metric(t, series); got != want {
				return fmt.Errorf("%s is %v, want %v", series, got, want)
			}
		}
		return nil
	}
	definitions := map[string][]byte{}
	for kind, crd := range kinds {
		definitions[kind] = bare(t, mustKubectl(t, "get", "crd", crd, "-o", "json"))
	}
	restore := func() {
		for _, definition := range definitions {
			_, _ = kubectlIn(definition, "create", "-f", "-")
		}
	}
	t.Cleanup(restore)
	inForce()
	for _, crd := range kinds {
		mustKubectl(t, "delete", "crd", crd, "--timeout=2m")
	}
	eventually(t, 10*time.Second, func() error { return missing(1) })
	for range 5 {
		inForce()
		<-time.After(500 * time.Millisecond)
	}
	// A proxy that starts meanwhile gets the same.
	mustKubectl(t, "-n", tutorialNS, "delete", "pod", "-l", "app=orders", "--wait=false")
	mustKubectl(t, "-n", tutorialNS, "rollout", "status", "deployment/orders", "--timeout=60s")
	eventually(t, 20*time.Second, func() error {
		outcomes, err := checkout.table(call)
		if err != nil || outcomes[0].Got != "grpc 0" {
			return fmt.Errorf("got %v, %v from the new pod", outcomes, err)
		}
		return nil
	})
	inForce()

	// Back, but without the objects: what is there now holds.
	restore()
	eventually(t, 30*time.Second, func() error { return missing(0) })
	awaitAnswers(t, unmeshed, call, "grpc 0")
	// And a Server that is made now is one.
	applySeed(t, "server-orders.yaml")
	awaitAnswers(t, unmeshed, call, "grpc 7")
	awaitAnswers(t, checkout, call, "grpc 0")
}
