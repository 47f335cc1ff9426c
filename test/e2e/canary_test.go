package e2e

import (
	"fmt"
	"testing"
	"time"
)

const canary = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web-canary, namespace: work}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - backendRefs:
    - {name: web-v1, port: 80, weight: 90}
    - {name: web-v2, port: 80, weight: 10}
`

// TestCanary splits requests and moves the split while they flow.
func TestCanary(t *testing.T) {
	needWorkers(t)
	applyRoute(t, "web-canary", canary)
	awaitWork(t, "web", func(l load) bool { return l.of("web-v2") > 0 })

	const n = 10_000
	got := work(t, "web", n, 500)
	got.mustBeWhole(t, n)
	v1, v2 := got.of("web-v1"), got.of("web-v2")
	t.Logf("weights 90 and 10: %d and %d of %d answers, 99%% within %.1f ms", v1, v2, n, got.P99)
	if v1+v2 != n || v2 < n*9/100 || v2 > n*11/100 {
		t.Errorf("v1 gave %d answers and v2 %d of %d; want %d and %d, within a point", v1, v2, n, n*9/10, n/10)
	}

	weigh := func(v1, v2 int) {
		mustKubectl(t, "-n", workNS, "patch", httpRouteCRD, "web-canary", "--type=json", fmt.Sprintf(
			`-p=[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":%d},
			{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":%d}]`, v1, v2))
	}
	const shifted = 6000
	got = underLoad(t, func() {
		for v2 := range 11 { // from nothing to all, and back
			<-time.After(500 * time.Millisecond)
			weigh(100-10*v2, 10*v2)
		}
		<-time.After(time.Second)
		weigh(100, 0)
		<-time.After(time.Second)
		weigh(0, 100)
	}, loadOf("web", shifted, 300)...)
	got.mustBeWhole(t, shifted)
	t.Logf("13 shifts under load: %d and %d of %d answers, none failed, the slowest took %.1f ms",
		got.of("web-v1"), got.of("web-v2"), shifted, got.Max)
	if v1, v2 := got.of("web-v1"), got.of("web-v2"); v1 < shifted/10 || v2 < shifted/10 {
		t.Errorf("v1 gave %d answers and v2 %d of %d; the shifts did not reach the requests", v1, v2, shifted)
	}

	awaitWork(t, "web", func(l load) bool { return l.of("web-v2") == 20 })
	weigh(100, 0)
	awaitWork(t, "web", func(l load) bool { return l.of("web-v1") == 20 })
	if got := work(t, "web", 500, 500); got.of("web-v1") != 500 {
		t.Errorf("with weight 0 for v2, pods %v answered", got.Pods)
	}
}

const headerCanary = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web-header, namespace: work}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches: [{headers: [{name: x-canary, value: "true"}]}]
    backendRefs: [{name: web-v2, port: 80}]
  - backendRefs: [{name: web-v1, port: 80}]
`

func TestCanaryForSomeCustomers(t *testing.T) {
	needWorkers(t)
	applyRoute(t, "web-header", headerCanary)
	awaitWork(t, "web", func(l load) bool { return l.of("web-v2") == 20 }, "-header", "x-canary: true")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"the header":                    {[]string{"-header", "X-Canary: true"}, "web-v2"},
		"the header over HTTP/2":        {[]string{"-header", "x-canary: true", "-proto", "h2c"}, "web-v2"},
		"another value":                 {[]string{"-header", "x-canary: TRUE"}, "web-v1"},
		"the value with something more": {[]string{"-header", "x-canary: true", "-header", "x-canary: false"}, "web-v1"},
		"no header":                     {nil, "web-v1"},
	} {
		got := work(t, "web", 200, 400, test.args...)
		got.mustBeWhole(t, 200)
		if got.of(test.want) != 200 {
			t.Errorf("%s: pods %v answered, want those of %s", name, got.Pods, test.want)
		}
	}
}
