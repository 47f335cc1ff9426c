package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
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

func TestTable(t *testing.T) {
	total := reading{
		{"web", "cart", "true", ""}: {success: 90, failure: 10,
			latency: map[float64]float64{1: 50, 2: 100, math.Inf(1): 100}},
		{unmeshed, "web", "no_identity", "no_tls_from_remote"}: {success: 8},
		{"cart", "redis", "true", ""}:                          {connections: 2},
		{"gone", "web", "true", ""}:                            {},
	}
	recent := reading{
		{"web", "cart", "true", ""}:                            total[edge{"web", "cart", "true", ""}],
		{unmeshed, "web", "no_identity", "no_tls_from_remote"}: {},
		{"cart", "redis", "true", ""}:                          {connections: 2},
	}
	var out bytes.Buffer
	if err := printTable(&out, recent, total, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	want := `SRC         DST    TLS                     RPS   SUCCESS  P50    P99
(unmeshed)  web    no: no_tls_from_remote  -     100.00%  -      -
cart        redis  mutual                  -     -        -      -
web         cart   mutual                  10.0  90.00%   1.0ms  2.0ms
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestQuantileIsLinearWithinABucket(t *testing.T) {
	buckets := map[float64]float64{10: 0, 20: 100, math.Inf(1): 100}
	for q, want := range map[float64]float64{0.5: 15, 0.99: 19.9} {
		if got := quantile(q, buckets); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if got := quantile(0.99, map[float64]float64{10: 0, math.Inf(1): 5}); got != 10 {
		t.Errorf("beyond the last bound: got %v, want the bound 10", got)
	}
	if got := quantile(0.5, nil); !math.IsNaN(got) {
		t.Errorf("without observations: got %v, want NaN", got)
	}
}
