package main

import (
	"testing"
	"time"
)

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

func TestLatenciesWithoutTheirChangesAreAnError(t *testing.T) {
	began := upheaval{at: time.Unix(0, 0), made: 7, heard: 3}
	for _, c := range []struct {
		name        string
		made, heard float64
		wrong       bool
	}{
		{"as many as there are to be", 507, 13, false},
		{"half of them", 257, 13, true},
		{"none that the proxy heard of", 507, 3, true},
	} {
		f := figures{}
		err := upheaval{at: time.Unix(5, 0), made: c.made, heard: c.heard}.since(began).figures(f)
		if (err != nil) != c.wrong || !c.wrong && (f["churn.changes"] != 100 || f["churn.heard"] != 2) {
			t.Errorf("%s: %v, %v", c.name, err, f)
		}
	}
}
