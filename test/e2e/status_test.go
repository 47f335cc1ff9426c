package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	controllerName = "tulle.dev/policy-controller"
	httpRouteCRD   = "httproutes.gateway.networking.k8s.io"
)

// routed is a Service before the pods of server, so that its routes are nobody else's, and a route that answers /moved
// itself.
const routed = `
apiVersion: v1
kind: Service
metadata: {name: routed, namespace: e2e}
spec:
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: routed, namespace: e2e}
spec:
  parentRefs: [{group: "", kind: Service, name: routed, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.example, statusCode: 301}}]
  - backendRefs: [{name: routed, port: 80}]
`

// routeStatus is what an HTTPRoute says about itself.
type routeStatus struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		Parents []struct {
			ControllerName string
			ParentRef      struct{ Name string }
			Conditions     []struct {
				Type, Status, Reason, Message string
				ObservedGeneration            int64
			}
		}
	}
}

// condition returns what our controller says of a condition at the object's generation: "True", "False" or, for the
// time being, "".
func (r routeStatus) condition(kind string) string {
	for _, p := range r.Status.Parents {
		if p.ControllerName != controllerName {
			continue
		}
		for _, c := range p.Conditions {
			if c.Type == kind && c.ObservedGeneration == r.Metadata.Generation {
				return c.Status
			}
		}
	}
	return ""
}

func getRoute(t *testing.T, namespace, name string) routeStatus {
	t.Helper()
	var r routeStatus
	if err := json.Unmarshal([]byte(mustKubectl(t, "-n", namespace, "get", httpRouteCRD, name, "-o", "json")),
		&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func awaitCondition(t *testing.T, within time.Duration, namespace, name, kind, want string) {
	t.Helper()
	eventually(t, within, func() error {
		r := getRoute(t, namespace, name)
		if got := r.condition(kind); got != want {
			return fmt.Errorf("%s of %s is %q at generation %d, want %s: %+v", kind, name, got, r.Metadata.Generation, want,
				r.Status)
		}
		return nil
	})
}

// apply applies manifests, and deletes them after the test.
func apply(t *testing.T, manifests string) {
	t.Helper()
	if _, err := kubectlIn([]byte(manifests), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = kubectlIn([]byte(manifests), "delete", "--ignore-not-found", "--wait=false", "-f", "-") })
}

func moved(t *testing.T) error {
	t.Helper()
	if a := meshed.http(t, "-url", "http://routed.e2e/moved/x"); a.Status != 301 {
		return fmt.Errorf("status %d, want the route's 301", a.Status)
	}
	return nil
}

func TestRouteSaysWhatBecameOfIt(t *testing.T) {
	apply(t, routed)
	awaitCondition(t, 10*time.Second, appNS, "routed", "Accepted", "True")
	awaitCondition(t, 10*time.Second, appNS, "routed", "ResolvedRefs", "True")
	mustKubectl(t, "-n", appNS, "patch", httpRouteCRD, "routed", "--type=json",
		`-p=[{"op":"replace","path":"/spec/rules/1/backendRefs/0/name","value":"nobody"}]`)
	awaitCondition(t, 10*time.Second, appNS, "routed", "ResolvedRefs", "False")
	awaitCondition(t, 10*time.Second, appNS, "routed", "Accepted", "True")
}

// metric returns the largest value of a series among the control plane's pods.
func metric(t *testing.T, series string) float64 {
	t.Helper()
	out, err := run(time.Minute, nil, env.tulle, "diagnostics", "controller-metrics")
	if err != nil {
		t.Fatal(err)
	}
	most := -1.0
	for _, m := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(series)+` (\S+)$`).FindAllSubmatch(out, -1) {
		if v, err := strconv.ParseFloat(string(m[1]), 64); err == nil {
			most = max(most, v)
		}
	}
	return most
}

// TestRoutesOutliveTheirDefinition removes the definition of HTTPRoute, and with it every HTTPRoute of the cluster.
func TestRoutesOutliveTheirDefinition(t *testing.T) {
	const missing = `tulle_kube_kind_missing{group="gateway.networking.k8s.io",kind="HTTPRoute"}`
	apply(t, routed)
	awaitCondition(t, 10*time.Second, appNS, "routed", "Accepted", "True")
	eventually(t, 10*time.Second, func() error { return moved(t) })
	definition := mustKubectl(t, "get", "crd", httpRouteCRD, "-o", "json")
	t.Cleanup(func() { _, _ = kubectlIn(bare(t, definition), "create", "-f", "-") })

	mustKubectl(t, "delete", "crd", httpRouteCRD, "--timeout=2m")
	eventually(t, 10*time.Second, func() error {
		if got := metric(t, missing); got != 1 {
			return fmt.Errorf("%s is %v, want 1", missing, got)
		}
		return nil
	})
	for range 20 {
		if err := moved(t); err != nil {
			t.Fatal(err)
		}
		<-time.After(250 * time.Millisecond)
	}

	// Back, but without the route: what is there now holds.
	if _, err := kubectlIn(bare(t, definition), "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, "wait", "--for=condition=Established", "crd/"+httpRouteCRD, "--timeout=1m")
	eventually(t, 20*time.Second, func() error {
		if err := moved(t); err == nil {
			return fmt.Errorf("the route is active, and does not exist")
		}
		return nil
	})
	if got := metric(t, missing); got != 0 {
		t.Errorf("%s is %v, want 0", missing, got)
	}
	// A kind that is defined after the control plane has started.
	apply(t, routed)
	awaitCondition(t, 10*time.Second, appNS, "routed", "Accepted", "True")
	eventually(t, 10*time.Second, func() error { return moved(t) })
}

// bare returns a definition as it can be created again.
func bare(t *testing.T, definition string) []byte {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal([]byte(definition), &d); err != nil {
		t.Fatal(err)
	}
	delete(d, "status")
	meta := d["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"} {
		delete(meta, field)
	}
	out, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBadRouteDoesNotHoldUpAThousand changes one route so that nobody can serve it, and others so that they can be
// served. The others have their status and are served within 5 seconds.
func TestBadRouteDoesNotHoldUpAThousand(t *testing.T) {
	const routes, services = 1000, 20
	var all strings.Builder
	all.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n")
	for i := range services {
		fmt.Fprintf(&all,
			"---\napiVersion: v1\nkind: Service\nmetadata: {name: s-%d, namespace: many}\nspec: {ports: [{port: 80}]}\n", i)
	}
	for i := range routes {
		fmt.Fprintf(&all, `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r-%d, namespace: many}
spec:
  parentRefs: [{group: "", kind: Service, name: s-%d, port: 80}]
  rules: [{matches: [{path: {type: RegularExpression, value: "/%d"}}], backendRefs: [{name: s-%d, port: 80}]}]
`, i, i%services, i, i%services)
	}
	t.Cleanup(func() { _, _ = kubectl("delete", "namespace", "many", "--ignore-not-found", "--wait=false") })
	if _, err := kubectlIn([]byte(all.String()), "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	// 10 a second, after a burst.
	eventually(t, 3*time.Minute, func() error {
		if got := metric(t, "tulle_kube_status_backlog"); got != 0 {
			return fmt.Errorf("%v statuses wait to be written", got)
		}
		return nil
	})
	awaitCondition(t, time.Minute, "many", "r-999", "Accepted", "True")

	// Admission knows no extensions, and lets them pass.
	mustKubectl(t, "-n", "many", "patch", httpRouteCRD, "r-0", "--type=json", `-p=[{"op":"add","path":"/spec/rules/0/filters",
		"value":[{"type":"ExtensionRef","extensionRef":{"group":"example.com","kind":"Magic","name":"m"}}]}]`)
	for i := 1; i <= 5; i++ {
		mustKubectl(t, "-n", "many", "patch", httpRouteCRD, fmt.Sprint("r-", i), "--type=json",
			`-p=[{"op":"replace","path":"/spec/rules/0/matches/0/path/value","value":"/new"}]`)
	}
	for i := 1; i <= 5; i++ {
		awaitCondition(t, 5*time.Second, "many", fmt.Sprint("r-", i), "Accepted", "True")
	}
	eventually(t, 5*time.Second, func() error {
		r := getRoute(t, "many", "r-0")
		for _, p := range r.Status.Parents {
			for _, c := range p.Conditions {
				if c.ObservedGeneration == r.Metadata.Generation && strings.Contains(c.Message, "spec.rules[0].filters[0]") {
					return nil
				}
			}
		}
		return fmt.Errorf("the status of the bad route does not name the mistake: %+v", r.Status)
	})
}
