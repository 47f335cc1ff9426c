package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// route is an HTTPRoute from a worker's Service to itself, with annotations, and with timeouts if there are any.
func route(name string, annotations map[string]string, timeouts string) string {
	var notes strings.Builder
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&notes, "    %s: %q\n", key, annotations[key])
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: %[1]s
  namespace: %[2]s
  annotations:
%[3]sspec:
  parentRefs: [{group: "", kind: Service, name: %[1]s, port: 80}]
  rules:
  - backendRefs: [{name: %[1]s, port: 80}]
    timeouts: {%[4]s}
`, name, workNS, notes.String(), timeouts)
}

// share is a part of a whole in percent.
func share(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

// TestRetriesAlongAChain has five applications call each other in a row. Each fails a tenth of its requests.
func TestRetriesAlongAChain(t *testing.T) {
	needWorkers(t)
	link := func(i int) string { return fmt.Sprint("link-", i) }
	for i := range links {
		behave(t, link(i+1)+"."+workNS, "fail=0.1")
		count(t, link(i+1))
	}
	awaitWork(t, link(1), func(l load) bool { return l.OK > 0 })
	bare := work(t, link(1), 500, 200)
	t.Logf("without retries %.1f%% of %d requests succeed", share(bare.OK, bare.Sent), bare.Sent)
	if bare.OK > bare.Sent*8/10 {
		t.Fatalf("%d of %d requests succeed without retries: the applications do not fail as they should", bare.OK, bare.Sent)
	}
	for i := range links {
		applyRoute(t, link(i+1), route(link(i+1),
			map[string]string{"retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "5"}, ""))
	}
	awaitWork(t, link(1), func(l load) bool { return l.OK == l.Sent })
	// measure sends n requests down the chain and returns the worst amplification: what a link got for each of the
	// client's requests.
	measure := func(n int) (l load, worst float64) {
		for i := range links {
			count(t, link(i+1))
		}
		l = work(t, link(1), n, 200)
		for i := range links {
			got := count(t, link(i+1))
			worst = max(worst, float64(got.Received)/float64(n))
			t.Logf("%s got %d requests for %d of the client's and failed %.1f%% of them", link(i+1), got.Received, n,
				share(got.Failed, got.Received))
			if failed := share(got.Failed, got.Received); failed < 7 || failed > 13 && i < links-1 {
				t.Errorf("%s failed %.1f%% by itself; the test is about 10%%", link(i+1), failed)
			}
		}
		return l, worst
	}

	const n = 3000
	behave(t, link(links)+"."+workNS, "fail=1")
	got, worst := measure(n)
	t.Logf("with the last link down: %.2f requests a link for each of the client's; statuses %v, errors %v, causes %v",
		worst, got.Statuses, got.Errors, got.Causes)
	if got.OK > 0 || worst > 1.3 {
		t.Errorf("%d requests succeeded, amplification %.2f; want none, 1.3 at most", got.OK, worst)
	}

	behave(t, link(links)+"."+workNS, "fail=0.1")
	got, worst = measure(n)
	t.Logf("%.2f%% of %d requests succeed, at %.2f requests a link for each", share(got.OK, n), n, worst)
	if got.OK < n*999/1000 || worst > 1.3 {
		t.Errorf("%d of %d requests succeeded at amplification %.2f; want 99.9%% at 1.3: statuses %v, errors %v, causes %v",
			got.OK, n, worst, got.Statuses, got.Errors, got.Causes)
	}
}

// TestServiceProfileRetries is what users of ServiceProfiles do for the same.
func TestServiceProfileRetries(t *testing.T) {
	needWorkers(t)
	apply(t, `
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: web-v2.work.svc.cluster.local, namespace: work}
spec:
  routes:
  - {name: GET /work, condition: {method: GET, pathRegex: /work}, isRetryable: true}
  - {name: GET /status, condition: {method: GET, pathRegex: /status}}
  - {name: GET /slow, condition: {method: GET, pathRegex: /slow}, timeout: 300ms}
  retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}
`)
	eventually(t, 10*time.Second, func() error { return slow(t, "web-v2") })
	behave(t, "web-v2."+workNS, "fail=0.1")
	count(t, "web-v2")
	const n = 2000
	got, counted := work(t, "web-v2", n, 200), count(t, "web-v2")
	t.Logf("%.2f%% of %d requests succeed; the application got %d and failed %d", share(got.OK, n), n, counted.Received,
		counted.Failed)
	if got.OK < n*99/100 || counted.Failed < n*8/100 || counted.Received > n*13/10 {
		t.Errorf("%d of %d requests succeeded; the application got %d and failed %d", got.OK, n, counted.Received,
			counted.Failed)
	}
	if a := meshed.http(t, "-url", workURL("web-v2", "/status?code=503")); a.Status != 503 {
		t.Errorf("a route that is not retryable: got %+v, want 503", a)
	}
}

// slow asks for what takes 5 seconds, and wants a response within one that says that this is too long.
func slow(t *testing.T, service string) error {
	t.Helper()
	a := meshed.http(t, "-url", workURL(service, "/slow?for=5s"))
	if a.Status != 504 || a.Seconds < 0.3 || a.Seconds > 1.3 {
		return fmt.Errorf("got status %d after %.2f s, want 504 after 0.3 s", a.Status, a.Seconds)
	}
	return nil
}

func TestTimeouts(t *testing.T) {
	needWorkers(t)
	again := func(timeout string) map[string]string {
		notes := map[string]string{"retry.linkerd.io/http": "gateway-error", "retry.linkerd.io/limit": "2"}
		if timeout != "" {
			notes["retry.linkerd.io/timeout"] = timeout
		}
		return notes
	}
	for name, test := range map[string]struct {
		route    string
		behave   string
		status   int
		least    float64 // seconds to the answer
		received int     // by the application
		says     string  // in the answer's Proxy-Status
	}{
		"annotation for the request": {
			route("web-v2", map[string]string{"timeout.linkerd.io/request": "300ms"}, ""), "delay=5s", 504, 0.3, 1,
			"request timeout",
		},
		"annotation for the response": {
			route("web-v2", map[string]string{"timeout.linkerd.io/response": "300ms"}, ""), "delay=5s", 504, 0.3, 1,
			"response timeout",
		},
		"timeout of the rule": {route("web-v2", nil, "request: 300ms"), "delay=5s", 504, 0.3, 1, "request timeout"},
		"attempt that is late is made again": {
			route("web-v2", again("300ms"), "request: 3s"), "delay=5s&first=1", 200, 0.3, 2, "",
		},
		"backendRequest is an attempt's": {
			route("web-v2", again(""), "request: 3s, backendRequest: 300ms"), "delay=5s&first=2", 200, 0.6, 3, "",
		},
		"attempts end with the request": {
			route("web-v2", again("300ms"), "request: 500ms"), "delay=5s", 504, 0.3, 2, "timeout",
		},
		"in time": {route("web-v2", nil, "request: 3s, backendRequest: 3s"), "delay=200ms", 200, 0.2, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			apply(t, test.route)
			awaitCondition(t, 10*time.Second, workNS, "web-v2", "Accepted", "True")
			var a answer
			var got worked
			eventually(t, 10*time.Second, func() error { // until the route holds
				behave(t, "web-v2."+workNS, test.behave)
				count(t, "web-v2")
				a = meshed.http(t, "-url", workURL("web-v2", "/work"))
				if a.Status != test.status || a.Seconds < test.least || a.Seconds > test.least+1 {
					return fmt.Errorf("got %d after %.2f s, Proxy-Status %q; want %d after %.1f", a.Status, a.Seconds,
						a.header("Proxy-Status"), test.status, test.least)
				}
				return nil
			})
			eventually(t, 5*time.Second, func() error { // what nobody waits for any more is given up
				c := count(t, "web-v2")
				got.Received += c.Received
				if got.Abandoned += c.Abandoned; got.Received-got.Abandoned > 1 || test.status != 200 &&
					got.Received != got.Abandoned {
					return fmt.Errorf("the application got %d requests, and %d were called off", got.Received, got.Abandoned)
				}
				return nil
			})
			t.Logf("%d after %.2f s, %d requests at the application, %d called off; %s", a.Status, a.Seconds, got.Received,
				got.Abandoned, a.header("Proxy-Status"))
			if got.Received != test.received || !strings.Contains(a.header("Proxy-Status"), test.says) {
				t.Errorf("the application got %d requests, Proxy-Status %q; want %d, %q", got.Received, a.header("Proxy-Status"),
					test.received, test.says)
			}
		})
	}
	t.Run("annotation of the Service", func(t *testing.T) {
		annotate(t, "service/web-v2", "timeout.linkerd.io/request=300ms")
		eventually(t, 10*time.Second, func() error { return slow(t, "web-v2") })
	})
}

// annotate sets annotations of an object of workNS until the test ends.
func annotate(t *testing.T, object string, annotations ...string) {
	t.Helper()
	mustKubectl(t, append([]string{"-n", workNS, "annotate", "--overwrite", object}, annotations...)...)
	t.Cleanup(func() {
		remove := []string{"-n", workNS, "annotate", object}
		for _, a := range annotations {
			name, _, _ := strings.Cut(a, "=")
			remove = append(remove, name+"-")
		}
		if _, err := kubectl(remove...); err != nil {
			t.Error(err)
		}
	})
}
