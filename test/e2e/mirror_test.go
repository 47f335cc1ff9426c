package e2e

import (
	"fmt"
	"testing"
	"time"
)

const mirrored = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web-mirror, namespace: work}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - filters:
    - type: RequestMirror
      requestMirror: {percent: 50, backendRef: {name: web-v2, port: 80}}
    backendRefs: [{name: web-v1, port: 80}]
`

// TestMirror copies every second request to a version that is well, then every one to a version that is slow and fails.
func TestMirror(t *testing.T) {
	needWorkers(t)
	applyRoute(t, "web-mirror", mirrored)
	eventually(t, 10*time.Second, func() error {
		work(t, "web", 20, 100)
		if count(t, "web-v2").Received == 0 {
			return fmt.Errorf("no copy came")
		}
		return nil
	})
	const n = 2000
	got := work(t, "web", n, 400)
	got.mustBeWhole(t, n)
	copies := awaitCopies(t, n*45/100)
	t.Logf("percent 50: %d of %d requests copied", copies, n)
	if got.of("web-v1") != n || copies > n*55/100 {
		t.Errorf("pods %v answered, and %d of %d requests were copied; want v1 alone, and half of them within 5 points",
			got.Pods, copies, n)
	}

	behave(t, "web-v2."+workNS, "fail=1&delay=5s")
	mustKubectl(t, "-n", workNS, "patch", httpRouteCRD, "web-mirror", "--type=json",
		`-p=[{"op":"replace","path":"/spec/rules/0/filters/0/requestMirror/percent","value":100}]`)
	const slow = 1000
	got = work(t, "web", slow, 150)
	got.mustBeWhole(t, slow)
	copies = awaitCopies(t, slow*3/4)
	t.Logf("percent 100, to a version that takes 5 s and fails: %d of %d requests copied, half answered within %.1f ms,"+
		" all within %.1f ms",
		copies, slow, got.P50, got.Max)
	if got.of("web-v1") != slow || got.P50 > 500 || got.Max > 4000 {
		t.Errorf("pods %v answered, half within %.0f ms, the slowest within %.0f ms; the copies hold the requests up",
			got.Pods, got.P50, got.Max)
	}
}

// awaitCopies waits until web-v2 has got so many requests, and until no more come, and returns how many.
func awaitCopies(t *testing.T, least int) (copies int) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		more := count(t, "web-v2").Received
		if copies += more; copies < least || more > 0 {
			return fmt.Errorf("%d copies, want at least %d", copies, least)
		}
		return nil
	})
	return copies
}
