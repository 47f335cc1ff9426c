package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFaultEndsWithoutTheControlPlane injects failures and delays, and has the control plane gone by the time they are
// to end.
func TestFaultEndsWithoutTheControlPlane(t *testing.T) {
	needWorkers(t)
	fault := func(abortPercent, delayPercent string, lasts time.Duration) (until time.Time,
		annotations map[string]string) {
		until = time.Now().Add(lasts).Truncate(time.Second)
		return until, map[string]string{
			"fault.tulle.dev/abort-http": "503", "fault.tulle.dev/abort-percent": abortPercent,
			"fault.tulle.dev/delay": "100ms", "fault.tulle.dev/delay-percent": delayPercent,
			"fault.tulle.dev/until": until.UTC().Format(time.RFC3339),
		}
	}
	// With retries it is as if nothing was.
	_, annotations := fault("10", "0", 5*time.Minute)
	annotations["retry.linkerd.io/http"], annotations["retry.linkerd.io/limit"] = "5xx", "5"
	apply(t, route("web-v1", annotations, ""))
	eventually(t, 10*time.Second, func() error {
		work(t, "web-v1", 50, 100)
		return nilIf(proxyMetric(t, "outbound_http_route_retry_requests_total", `route_name="web-v1"`) > 0,
			"nothing was retried")
	})
	const n = 2000
	got := work(t, "web-v1", n, 400)
	t.Logf("10%% aborted on purpose, with retries: %.2f%% of %d requests succeed", share(got.OK, n), n)
	if got.OK < n*999/1000 {
		t.Errorf("%d of %d requests succeeded, want 99.9%%", got.OK, n)
	}

	until, annotations := fault("50", "50", 35*time.Second)
	apply(t, route("web-v1", annotations, ""))
	awaitWork(t, "web-v1", func(l load) bool { return l.Failed > 0 })
	got = work(t, "web-v1", 1000, 500)
	t.Logf("50%% aborted, 50%% delayed by 100 ms: %.1f%% failed, half within %.1f ms, 99%% within %.1f ms",
		share(got.Failed, 1000), got.P50, got.P99)
	if got.Failed < 440 || got.Failed > 560 || got.Statuses["503"] != got.Failed || got.P99 < 100 {
		t.Errorf("%d of 1000 failed, statuses %v, 99%% within %.1f ms; want about half, with 503, and delays", got.Failed,
			got.Statuses, got.P99)
	}
	var refused answer
	eventually(t, 10*time.Second, func() error {
		refused = meshed.http(t, "-url", workURL("web-v1", "/work"))
		return nilIf(refused.Status == 503, "got %d", refused.Status)
	})
	if said := refused.header("Proxy-Status") + refused.header("L5d-Proxy-Error"); !strings.Contains(said, "on purpose") {
		t.Errorf("the answer does not say that it is injected: %v", refused.Header)
	}
	if got := proxyMetric(t, "outbound_http_route_request_statuses_total", `error="injected"`); got < 440 {
		t.Errorf("%v requests count as injected, want 440 at least", got)
	}

	t.Cleanup(func() { scaleControlPlane(t, 1); waitControlPlane(t); awaitConnected(t) })
	scaleControlPlane(t, 0)
	if left := time.Until(until); left > 2*time.Second {
		if got := work(t, "web-v1", 100, 200); got.Failed < 25 {
			t.Errorf("%s before its end the fault fails %d of 100: it ended with the control plane", left, got.Failed)
		}
	} else {
		t.Logf("the control plane took so long to go that the fault was over")
	}
	<-time.After(time.Until(until.Add(time.Second)))
	got = work(t, "web-v1", 500, 500)
	got.mustBeWhole(t, 500)
	t.Logf("a second after its end, without a control plane: %d of 500 failed, 99%% within %.1f ms", got.Failed, got.P99)
	if got.P50 > 90 {
		t.Errorf("half of the requests take longer than %.1f ms: they are still delayed", got.P50)
	}
}

// awaitConnected waits until the proxies that send requests on follow the control plane again: what one has not asked
// for before, it could not reach.
func awaitConnected(t *testing.T) {
	t.Helper()
	workloads := []client{meshed}
	for i := range links {
		workloads = append(workloads, client{workNS, fmt.Sprint("link-", i+1)})
	}
	for _, c := range workloads {
		eventually(t, time.Minute, func() error {
			return nilIf(c.metric(t, "control_connected") == 1, "the proxy of %s/%s is not connected", c.namespace, c.deployment)
		})
	}
}

// proxyMetric is metric of the client that the tests speak from.
func proxyMetric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	return meshed.metric(t, name, labels...)
}

// metric sums the series of a workload's proxies that have a name and all of the labels.
func (c client) metric(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	out, err := run(time.Minute, nil, env.tulle, "diagnostics", "proxy-metrics", "-n", c.namespace, "deploy/"+c.deployment)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if series := line[:max(0, strings.IndexAny(line, "{ "))]; series != name ||
			slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(line, l) }) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum += v
	}
	return sum
}

// nilIf returns nil if all is as wanted, else an error.
func nilIf(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
