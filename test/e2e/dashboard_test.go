package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// dashboardTimeout bounds the tests in the browser.
const dashboardTimeout = 5 * time.Minute

// TestDashboard runs the tests of test/dashboard: a browser opens every page of `tulle viz dashboard`. Meanwhile orders
// calls payments, and so does a client that policy denies.
func TestDashboard(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("make e2e installs it: %v", err)
	}
	stop := serveProduction(t)
	defer stop()
	if _, err := kubectlIn([]byte(longNamedRoute()), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	defer callDenied()()
	t.Cleanup(func() { uninstallViz(t) })
	applyViz(t, vizManifests(t))
	awaitPrometheus(t)

	ctx, cancel := context.WithTimeout(t.Context(), dashboardTimeout)
	defer cancel()
	cmd := command(ctx, node, "--test", "--test-reporter=spec", "dashboard.test.mjs")
	cmd.Dir = filepath.Join(env.root, "test", "dashboard")
	cmd.Env = append(cmd.Env, "TULLE="+env.tulle, "KUBECTL="+env.kubectl, "NAMESPACE="+tutorialNS, "CLIENT=orders",
		"SERVER=payments")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("the tests in the browser: %v", err)
	}
}

// longNamedRoute is a route of payments that has the longest name there can be.
func longNamedRoute() string {
	return fmt.Sprintf(`apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: %s, namespace: %s}
spec:
  parentRefs:
  - {group: core, kind: Service, name: payments, port: 8080}
  rules:
  - matches: [{path: {type: PathPrefix, value: /charge/long}}]
    backendRefs: [{name: payments, port: 8080}]
`, strings.Repeat("n", 253), tutorialNS)
}

// callDenied lets the client of another namespace call payments until the returned function is called. The path would
// be markup if a page did not show it as text.
func callDenied() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		// Until it is ended, or the pod is.
		_ = command(ctx, env.kubectl, "-n", appNS, "exec", "deploy/client", "-c", "app", "--", "/app", "load", "-url",
			"http://payments."+tutorialNS+":8080/charge/<img%20src=x%20onerror=alert(1)>", "-rate", "2", "-count", "1200").Run()
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
