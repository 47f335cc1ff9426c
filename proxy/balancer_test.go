package proxy

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

const cartBalancer = `{parent_group="core",parent_kind="Service",parent_namespace="shop",parent_name="cart",parent_port="80",` +
	`backend_group="core",backend_kind="Service",backend_namespace="shop",backend_name="cart",backend_port="80"`

// TestBalancerOfRequests lets requests wait for an endpoint: in vain, and not.
func TestBalancerOfRequests(t *testing.T) {
	pd := startPod(t, nil)
	app := echoing(t, "app")
	value := func(endpoints ...string) *mesh.Outbound {
		o := viaRoutes(nil)
		o.Routes, o.Endpoints = nil, toService(endpoints...).Endpoints
		return o
	}
	pd.plane.SetOutbound(pd.target(clusterIP), value())
	c := client(t, pd.outboundTo(clusterIP), false)
	if got := do(t, c, "GET", "http://cart.shop/", nil); got.status != 504 {
		t.Fatalf("got %d, want 504", got.status)
	}
	metrics := func(family string, suffixes ...string) {
		t.Helper()
		for _, s := range suffixes {
			pd.awaitMetric(t, "outbound_http_balancer_"+family+cartBalancer+s)
		}
	}
	metrics("endpoints", `,endpoint_state="ready"} 0`, `,endpoint_state="pending"} 0`)
	metrics("p2c_endpoints", "} 0")
	metrics("queue_gate_shut_total", "} 1")
	metrics("queue_gate_open_time_seconds", "} 0")
	metrics("queue_length", "} 0")
	metrics("queue_gate_timeout_seconds", "} 1")

	answered := make(chan int)
	go func() { answered <- do(t, c, "GET", "http://cart.shop/", nil).status }()
	metrics("queue_length", "} 1")
	pd.plane.SetOutbound(pd.target(clusterIP), value(app))
	if status := <-answered; status != 200 {
		t.Fatalf("the request that waits got %d", status)
	}
	for range 3 {
		do(t, c, "GET", "http://cart.shop/", nil)
	}
	metrics("queue_length", "} 0")
	metrics("queue_requests_total", "} 5")
	metrics("queue_latency_seconds_count", "} 5")
	metrics("queue_latency_seconds_bucket", `,le="1"} 4`) // but for the one that waited in vain
	metrics("p2c_endpoints", "} 1")
	metrics("p2c_updates_total", `,op="Reset"} 1`, `,op="Add"} 1`, `,op="Remove"} 0`)
	metrics("queue_gate_open_total", "} 2")
	metrics("queue_gate_shut_time_seconds", "} 0")

	pd.plane.SetOutbound(pd.target(clusterIP), value(echoing(t, "other")))
	metrics("p2c_updates_total", `,op="Reset"} 2`)
	pd.plane.SetOutbound(pd.target(clusterIP), value())
	metrics("p2c_updates_total", `,op="Remove"} 1`)
}

// TestBalancerOfConnections does the same with opaque connections.
func TestBalancerOfConnections(t *testing.T) {
	pd := startPod(t, nil)
	value := func(endpoints ...string) *mesh.Outbound {
		o := toService(endpoints...)
		o.Service = svc("cart")
		return o
	}
	pd.plane.SetOutbound(pd.target(clusterIP), value())
	if got, err := ask(pd.outboundTo(clusterIP), "x"); !isReset(err) {
		t.Fatalf("got %q, %v; want a reset", got, err)
	}
	pd.awaitMetric(t, "outbound_tcp_balancer_queue_gate_shut_total"+cartBalancer+"} 1")
	waiting := dial(t, pd.outboundTo(clusterIP))
	pd.awaitMetric(t, "outbound_tcp_balancer_queue_length"+cartBalancer+"} 1")
	pd.plane.SetOutbound(pd.target(clusterIP), value(listen(t, greet("a"))))
	if got, err := io.ReadAll(waiting); string(got) != "a" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := ask(pd.outboundTo(clusterIP), ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"queue_length" + cartBalancer + "} 0", "queue_requests_total" + cartBalancer + "} 3", "queue_gate_open_total" +
			cartBalancer + "} 2",
		"endpoints" + cartBalancer + `,endpoint_state="ready"} 1`, "p2c_updates_total" + cartBalancer + `,op="Add"} 1`,
		"queue_latency_seconds_count" + cartBalancer + "} 3",
	} {
		pd.awaitMetric(t, "outbound_tcp_balancer_"+want)
	}
	if text := pd.scrape(t); strings.Contains(text, "outbound_http_balancer") ||
		strings.Contains(text, "tulle_balancer_endpoints_ejected") {
		t.Error("connections show a balancer of requests")
	}
}

// TestBalancerThatIsGoneShowsNoEndpoints takes a Service's address away: what it counted stays for a while, what it had
// does not.
func TestBalancerThatIsGoneShowsNoEndpoints(t *testing.T) {
	pd := startPod(t, nil)
	o := viaRoutes(nil)
	o.Routes, o.Endpoints = nil, toService(echoing(t, "app")).Endpoints
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	c := client(t, pd.outboundTo(clusterIP), false)
	do(t, c, "GET", "http://cart.shop/", nil)
	pd.awaitMetric(t, "outbound_http_balancer_p2c_endpoints"+cartBalancer+"} 1")
	c.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for pd.Proxy.outbound.Targets() > 0 {
		if ctx.Err() != nil {
			t.Fatal("the address is not forgotten")
		}
		pd.Proxy.outbound.Sweep(0)
	}
	text := pd.scrape(t)
	if strings.Contains(text, "outbound_http_balancer_p2c_endpoints{") ||
		strings.Contains(text, "outbound_http_balancer_endpoints{") {
		t.Error("endpoints of a balancer that is gone")
	}
	if !strings.Contains(text, "outbound_http_balancer_queue_requests_total"+cartBalancer+"} 1") {
		t.Error("the last requests were not to be scraped any more")
	}
}
