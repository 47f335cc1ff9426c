package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const vizNS = "tulle-viz"

// TestViz installs the extension with a real Prometheus, and takes it away.
func TestViz(t *testing.T) {
	manifests, err := run(time.Minute, nil, env.tulle, "viz", "install", "--set", webSettings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubectlIn(manifests, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { uninstallViz(t) })
	for _, args := range [][]string{{"viz", "check", "--wait=2m"}, {"-n", appNS, "viz", "check", "--proxy", "--wait=1m"},
		{"check", "--wait=0s"}} {
		out, err := run(3*time.Minute, nil, env.tulle, args...)
		if err != nil || !strings.Contains(string(out), "√ viz extension self-check") {
			t.Fatalf("tulle %v: %v\n%s", args, err, out)
		}
	}
	t.Run("nothing to prune", func(t *testing.T) {
		if out, err := run(time.Minute, nil, env.tulle, "viz", "prune"); err != nil || len(out) > 0 {
			t.Errorf("error %v, printed %s", err, out)
		}
	})
	t.Run("series have the labels of their pods", testPrometheusLabels)
	t.Run("warnings of policies", testPolicyWarnings)
	t.Run("tap", testTap)
	t.Run("idle memory", testVizMemory)
	t.Run("the dashboard in the cluster", testWeb)
	t.Run("watching requests", testWatchCommands)
	t.Run("Prometheus is for metrics-api alone", func(t *testing.T) {
		const target = "http://prometheus." + vizNS + ":9090/api/v1/query?query=up"
		for name, from := range map[string]client{"no proxy": unmeshed, "another identity": meshed} {
			if got := from.http(t, "-url", target); got.Status != http.StatusForbidden {
				t.Errorf("%s: got status %d (%s), want 403", name, got.Status, got.Error)
			}
			api := from.http(t, "-url", "http://metrics-api."+vizNS+":8085/api/v1/query", "-method", "POST", "-text", "{}")
			if api.Status != http.StatusForbidden {
				t.Errorf("%s: got status %d (%s) of metrics-api, want 403", name, api.Status, api.Error)
			}
		}
	})
}

// maxIdle bounds what the containers take while nobody uses them.
var maxIdle = map[string]float64{"metrics-api": 40 << 20, "tap": 40 << 20, "web": 30 << 20}

// testVizMemory reads the working sets as the kubelet does: what the cgroup has, without inactive pages of files.
func testVizMemory(t *testing.T) {
	node := strings.TrimSpace(mustKubectl(t, "-n", vizNS, "get", "pod", "-l", "component=tap", "-o",
		"jsonpath={.items[0].spec.nodeName}"))
	line := regexp.MustCompile(`(?m)^container_memory_working_set_bytes\{container="(metrics-api|tap|web)",namespace="` +
		vizNS +
		`".*\} (\S+) `)
	eventually(t, 2*time.Minute, func() error {
		text, err := kubectl("get", "--raw", "/api/v1/nodes/"+node+"/proxy/metrics/resource")
		if err != nil {
			return err
		}
		found := line.FindAllSubmatch(text, -1)
		if len(found) < len(maxIdle) {
			return fmt.Errorf("working sets of %d containers, want metrics-api, tap and web", len(found))
		}
		for _, f := range found {
			size, err := strconv.ParseFloat(string(f[2]), 64)
			if most := maxIdle[string(f[1])]; err != nil || size > most {
				return fmt.Errorf("%s: %s bytes, want at most %.0f (%w)", f[1], f[2], most, err)
			}
			t.Logf("%s: %.1f MiB", f[1], size/(1<<20))
		}
		return nil
	})
}

// testPrometheusLabels asks Prometheus itself, through a port-forward, which policy does not concern.
func testPrometheusLabels(t *testing.T) {
	if meshed.http(t, "-url", "http://server.e2e/").Status != http.StatusOK {
		t.Fatal("no traffic to count")
	}
	base := forward(t, "deploy/prometheus", 9090)
	query := fmt.Sprintf(`request_total{job="linkerd-proxy",namespace=%q,deployment="client",direction="outbound"}`, appNS)
	eventually(t, time.Minute, func() error {
		resp, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		var answer struct {
			Data struct {
				Result []struct{ Metric map[string]string }
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("%w in %s", err, body)
		}
		for _, series := range answer.Data.Result {
			if strings.HasPrefix(series.Metric["pod"], "client-") && series.Metric["control_plane_ns"] == meshNS {
				return nil
			}
		}
		return fmt.Errorf("no series with the labels of the client's pod: %s", body)
	})
}

// forward starts kubectl port-forward to a port of the extension, for as long as the test lasts, and returns its URL.
func forward(t *testing.T, target string, port int) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := command(ctx, env.kubectl, "-n", vizNS, "port-forward", target, fmt.Sprintf(":%d", port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was ended
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	addr := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(line)
	if err != nil || addr == "" {
		t.Fatalf("port-forward: %q, error %v", line, err)
	}
	return "http://" + addr
}

// uninstallViz wants nothing of the extension to be left.
func uninstallViz(t *testing.T) {
	out, err := run(time.Minute, nil, env.tulle, "viz", "uninstall")
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := kubectlIn(out, "delete", "-f", "-"); err != nil {
		t.Error(err)
	}
	left, err := kubectl("get", "namespaces,clusterroles,clusterrolebindings,apiservices", "-o", "name", "-l",
		"linkerd.io/extension")
	if err != nil || len(left) > 0 {
		t.Errorf("error %v, left: %s", err, left)
	}
}
