package main

import (
	"math"
	"strings"
	"testing"
)

// shopReading is a reading in which every edge of the shop behaves as it should.
func shopReading() reading {
	r := reading{}
	for _, x := range expected {
		t := r.at(edge{src: x.src, dst: x.dst, tls: "true"})
		t.connections = 1
		if !math.IsNaN(x.success) {
			t.success, t.failure = 1000*x.success, 1000*(1-x.success)
		}
	}
	return r
}

func TestJudgeAcceptsTheShopAndNamesWhatIsWrong(t *testing.T) {
	if err := compare(shopReading(), shopReading()); err != nil {
		t.Errorf("the shop as it should be: %v", err)
	}
	early := shopReading()
	early.at(edge{src: "web", dst: "catalog"}).failure = 3
	if err := compare(shopReading(), early); err != nil {
		t.Errorf("calls before there was an endpoint: %v", err)
	}
	early.at(edge{"web", "cart", "no_identity", "not_provided_by_service_discovery"}).success = 3
	if err := compare(shopReading(), early); err != nil {
		t.Errorf("calls before the shop was meshed: %v", err)
	}
	pay := edge{src: "web", dst: "checkout", tls: "true"}
	for _, tc := range []struct {
		name  string
		spoil func(reading)
		want  string
	}{
		{"more failures than injected", func(r reading) { r[pay].failure = 200 }, "web -> checkout: 81.8 %"},
		{"fewer failures than injected", func(r reading) { r[pay].failure = 0 }, "web -> checkout: 100.0 %"},
		{"one failure where there must be none", func(r reading) { r[edge{"web", "cart", "true", ""}].failure = 1 },
			"web -> cart: 1 of 1001 calls failed"},
		{"plain text beside the secured calls", func(r reading) {
			r.at(edge{"cart", "redis", "no_identity", "loopback"}).connections = 1
		}, "cart -> redis is not secured: no: loopback"},
		{"an edge that nobody used", func(r reading) { delete(r, edge{"load", "live", "true", ""}) },
			"no traffic seen: load -> live"},
		{"an edge that fell silent", func(r reading) { *r[pay] = traffic{} }, "web -> checkout: no call in the window"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := shopReading()
			tc.spoil(r)
			err := compare(r, r)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
