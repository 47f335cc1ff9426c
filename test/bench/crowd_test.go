package main

import "testing"

func TestBalancedEndpointsAreAddedUpOverStates(t *testing.T) {
	text := []byte(`# TYPE outbound_http_balancer_p2c_endpoints gauge
outbound_http_balancer_p2c_endpoints{parent_name="app",endpoint_state="ready"} 9990
outbound_http_balancer_p2c_endpoints{parent_name="app",endpoint_state="pending"} 10
outbound_http_balancer_p2c_updates_total{parent_name="app",op="Add"} 7
outbound_tcp_balancer_p2c_endpoints{parent_name="app",endpoint_state="ready"} 3
`)
	if got := sumOf(p2cEndpoints, text); got != 10_000 {
		t.Errorf("got %g, want 10000", got)
	}
}

func TestWorkloadsThatNeedAControlPlaneAreNoneOfTheQuickOnes(t *testing.T) {
	for _, w := range workloads {
		for _, p := range w.phases {
			if p.layout.pod != w.pod || w.pod && w.quick {
				t.Errorf("%s: pod %t, its phase %t, quick %t", w.name, w.pod, p.layout.pod, w.quick)
			}
		}
	}
}
