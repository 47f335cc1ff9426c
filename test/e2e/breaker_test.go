package e2e

import (
	"testing"
	"time"
)

// TestCircuitBreaker fails one pod of two.
func TestCircuitBreaker(t *testing.T) {
	needWorkers(t)
	annotate(t, "service/web-v1", "balancer.linkerd.io/failure-accrual=consecutive",
		"balancer.linkerd.io/failure-accrual-consecutive-max-failures=3",
		"balancer.linkerd.io/failure-accrual-consecutive-min-penalty=2s",
		"balancer.linkerd.io/failure-accrual-consecutive-max-penalty=4s")
	byName := map[string]string{} // an address of each pod
	for _, ip := range podIPs(t, workNS, "web-v1") {
		byName[serverSaw(t, meshed.http(t, "-url", "http://"+bracket(ip)+":8080/")).Pod] = bracket(ip) + ":8080"
	}
	if len(byName) != 2 {
		t.Fatalf("web-v1 has pods %v, want 2", byName)
	}
	// A pod that was slow once may get none of a few requests a second for a while. With several in flight, both get their
	// share.
	const busy = "delay=25ms"
	sick, well := "", ""
	for pod, addr := range byName {
		sick, well = pod, sick
		behave(t, addr, busy)
	}
	eventually(t, 30*time.Second, func() error {
		got := work(t, "web-v1", 200, 200)
		return nilIf(got.Failed == 0 && got.Pods[sick] > 20 && got.Pods[well] > 20, "got %+v", got)
	})

	behave(t, byName[sick], "fail=1&"+busy)
	// Three failures eject it, one each brings it back to that: after about 2, 4 and 4 seconds.
	const n = 2400
	got := work(t, "web-v1", n, 200)
	t.Logf("a pod of two fails for 12 s: it got %d of %d requests, the other %d; %.2f%% succeed",
		got.Pods[sick], n, got.Pods[well], share(got.OK, n))
	if got.Failed != got.Pods[sick] || got.Failed < 5 || got.Failed > 20 {
		t.Errorf("the pod that fails got %d requests and %d failed; want 3 until it is ejected, one for each probe, and "+
			"few in flight",
			got.Pods[sick], got.Failed)
	}

	ready := func() float64 {
		return proxyMetric(t, "outbound_http_balancer_endpoints", `parent_name="web-v1"`, `endpoint_state="ready"`)
	}
	if ejected := proxyMetric(t, "tulle_balancer_endpoints_ejected", `parent_name="web-v1"`); ready() != 1 ||
		ejected != 1 {
		t.Errorf("metrics say that %v endpoints are ready and %v ejected, want one each", ready(), ejected)
	}

	behave(t, byName[sick], busy)
	mended := time.Now()
	eventually(t, 30*time.Second, func() error {
		got = work(t, "web-v1", 200, 200)
		return nilIf(got.Failed == 0 && got.Pods[sick] > 10, "got %+v", got)
	})
	t.Logf("admitted again %.1f s after it was mended", time.Since(mended).Seconds())
	if ready() != 2 {
		t.Errorf("metrics say that %v endpoints are ready, want 2", ready())
	}

	// Of endpoints that all fail, at most half are left out: failures come from pods, not from a Service without
	// endpoints.
	for _, addr := range byName {
		behave(t, addr, "fail=1")
	}
	got = work(t, "web-v1", 400, 200)
	if got.Statuses["503"] != 400 || got.Pods[sick]+got.Pods[well] != 400 {
		t.Errorf("with both pods failing: statuses %v from pods %v", got.Statuses, got.Pods)
	}
}
