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
	var pods []string // that answer: names and, in the same order, addresses
	ips := podIPs(t, workNS, "web-v1")
	for _, ip := range ips {
		pods = append(pods, serverSaw(t, meshed.http(t, "-url", "http://"+bracket(ip)+":8080/")).Pod)
	}
	sick, well := pods[0], ""
	for _, pod := range pods {
		if pod != sick {
			well = pod
		}
	}
	awaitWork(t, "web-v1", func(l load) bool { return l.Pods[sick] > 4 && l.Pods[well] > 4 })

	behave(t, bracket(ips[0])+":8080", "fail=1")
	// Three failures eject it, one each brings it back to that: after about 2, 4 and 4 seconds.
	const n = 2400
	got := work(t, "web-v1", n, 200)
	t.Logf("a pod of two fails for 12 s: it got %d of %d requests, the other %d; %.2f%% succeed",
		got.Pods[sick], n, got.Pods[well], share(got.OK, n))
	if got.Failed != got.Pods[sick] || got.Failed < 5 || got.Failed > 20 {
		t.Errorf("the pod that fails got %d requests and %d failed; want 3 until it is ejected, one for each probe, and few in flight",
			got.Pods[sick], got.Failed)
	}

	behave(t, bracket(ips[0])+":8080", "")
	mended := time.Now()
	eventually(t, 15*time.Second, func() error {
		got = work(t, "web-v1", 100, 200)
		return nilIf(got.Failed == 0 && got.Pods[sick] > 20, "got %+v", got)
	})
	t.Logf("admitted again %.1f s after it was mended", time.Since(mended).Seconds())

	// Of endpoints that all fail, at most half are left out: failures come from pods, not from a Service without endpoints.
	for _, ip := range ips {
		behave(t, bracket(ip)+":8080", "fail=1")
	}
	got = work(t, "web-v1", 400, 200)
	if got.Statuses["503"] != 400 || got.Pods[sick]+got.Pods[well] != 400 || max(got.Pods[sick], got.Pods[well]) < 200 {
		t.Errorf("with both pods failing: statuses %v from pods %v", got.Statuses, got.Pods)
	}
}
