package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const webMetrics = `# TYPE response_total counter
response_total{direction="outbound",dst_deployment="cart",tls="true",classification="success",status_code="200"} 30
response_total{direction="outbound",dst_deployment="cart",tls="true",classification="failure",status_code="500"} 10
response_total{direction="outbound",dst_service="plain",tls="no_identity",no_tls_reason="not_provided_by_service_discovery",classification="success"} 5
response_total{direction="inbound",tls="true",client_id="spiffe://cluster.local/ns/shop/sa/load",classification="success"} 7
response_total{direction="inbound",tls="true",client_id="spiffe://cluster.local/ns/shop/sa/restock",classification="success"} 2
response_total{direction="inbound",tls="no_identity",no_tls_reason="no_tls_from_remote",classification="success"} 3
# TYPE tcp_open_connections gauge
tcp_open_connections{direction="outbound",peer="dst",dst_deployment="redis",tls="true"} 2
tcp_open_connections{direction="outbound",peer="src",dst_deployment="redis",tls="no_identity",no_tls_reason="loopback"} 2
tcp_open_connections{direction="inbound",peer="dst",tls="true",client_id="spiffe://cluster.local/ns/shop/sa/restock"} 4
`

func read(t *testing.T, text string) reading {
	t.Helper()
	r := reading{}
	if err := r.add("web", map[string]bool{"web": true, "load": true}, text); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEdgesAreReadWhereTheirCallerCountsThem(t *testing.T) {
	got := read(t, webMetrics)
	want := reading{
		{"web", "cart", "true", ""}: {success: 30, failure: 10},
		{"web", "plain", "no_identity", "not_provided_by_service_discovery"}: {success: 5},
		{"web", "redis", "true", ""}:                                         {connections: 2},
		{"restock", "web", "true", ""}:                                       {success: 2},
		{unmeshed, "web", "no_identity", "no_tls_from_remote"}:               {success: 3},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(traffic{}, edge{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if err := got.add("web", nil, "no metrics {{{"); err == nil {
		t.Error("unreadable metrics were accepted")
	}
}

func TestSinceIsWhatHappenedInBetween(t *testing.T) {
	earlier, later := read(t, webMetrics), read(t, strings.ReplaceAll(webMetrics, "} 30\n", "} 130\n"))
	e := edge{"web", "cart", "true", ""}
	if got := later.since(earlier)[e]; got.success != 100 || got.failure != 0 {
		t.Errorf("got %+v, want 100 successes", got)
	}
	// The proxy was replaced: its counters are below what was read before.
	if got := earlier.since(later)[e]; got.success != 30 || got.failure != 10 {
		t.Errorf("after a restart: got %+v, want all of the new proxy's 40 calls", got)
	}
}

func TestCallerOfEverySpelling(t *testing.T) {
	for id, want := range map[string]string{
		"": unmeshed, "spiffe://cluster.local/ns/shop/sa/restock": "restock",
		"restock.shop.serviceaccount.identity.tulle.cluster.local": "restock",
	} {
		if got := caller(id); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
}
