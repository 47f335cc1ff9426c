package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// underLoad runs the load while disturb disturbs, and returns what the client counted.
func underLoad(t *testing.T, disturb func(), args ...string) load {
	t.Helper()
	type outcome struct {
		out []byte
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		out, err := meshed.app(append([]string{"load"}, args...)...)
		done <- outcome{out, err}
	}()
	disturb()
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	return decode[load](t, got.out)
}

func (l load) mustBeWhole(t *testing.T, want int) {
	t.Helper()
	if l.Sent != want || l.OK != want || l.Failed != 0 {
		t.Errorf("%d of %d requests failed: statuses %v, errors %v", l.Failed, l.Sent, l.Statuses, l.Errors)
	}
}

func TestRollingRestartLosesNothing(t *testing.T) {
	got := underLoad(t, func() {
		mustKubectl(t, "-n", appNS, "rollout", "restart", "deployment/server")
		mustKubectl(t, "-n", appNS, "rollout", "status", "deployment/server", "--timeout=180s")
	}, "-url", "http://server.e2e/", "-rate", "200", "-count", "10000")
	got.mustBeWhole(t, 10000)
}

var controlPlane = []string{"tulle-identity", "tulle-destination", "tulle-proxy-injector"}

func scaleControlPlane(t *testing.T, replicas int) {
	t.Helper()
	for _, name := range controlPlane {
		mustKubectl(t, "-n", meshNS, "scale", "deployment", name, fmt.Sprintf("--replicas=%d", replicas))
	}
	eventually(t, 2*time.Minute, func() error {
		pods := strings.Fields(mustKubectl(t, "-n", meshNS, "get", "pods", "-o", "name"))
		if replicas == 0 && len(pods) > 0 {
			return fmt.Errorf("still there: %v", pods)
		}
		return nil
	})
}

func waitControlPlane(t *testing.T) {
	t.Helper()
	for _, name := range controlPlane {
		mustKubectl(t, "-n", meshNS, "rollout", "status", "deployment/"+name, "--timeout=180s")
	}
}

func TestTrafficOutlivesTheControlPlane(t *testing.T) {
	// Resolve a Service once and then leave it idle for the whole outage.
	serverSaw(t, meshed.http(t, "-url", "http://idle.e2e/"))
	t.Cleanup(func() { scaleControlPlane(t, 1); waitControlPlane(t) })
	scaleControlPlane(t, 0)
	const outage = 3 * time.Minute
	got := underLoad(t, func() { <-time.After(outage) }, "-url", "http://server.e2e/", "-rate", "50", "-count", fmt.Sprint(50*int(outage.Seconds())))
	got.mustBeWhole(t, 50*int(outage.Seconds()))
	serverSaw(t, meshed.http(t, "-url", "http://idle.e2e/"))
}

func TestEverythingDeletedAtOnceComesBack(t *testing.T) {
	mustKubectl(t, "-n", meshNS, "delete", "pods", "--all", "--wait=false")
	mustKubectl(t, "-n", appNS, "delete", "pods", "--all", "--wait=false")
	waitControlPlane(t)
	for _, name := range []string{"client", "server", "strict", "idle"} {
		mustKubectl(t, "-n", appNS, "rollout", "status", "deployment/"+name, "--timeout=180s")
	}
	eventually(t, time.Minute, func() error {
		a, err := meshed.app("http", "-url", "http://strict.e2e/")
		if err != nil || !strings.Contains(string(a), `"status":200`) {
			return fmt.Errorf("%s: %v", a, err)
		}
		return nil
	})
}
