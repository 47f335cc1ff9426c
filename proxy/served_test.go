package proxy

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestRequestsLetInAreCountedByRoute sends requests to an HTTPRoute and a GRPCRoute of a Server, and some that policy
// denies.
func TestRequestsLetInAreCountedByRoute(t *testing.T) {
	g := startGuarded(t, web)
	policy := byRoute(authorize(mesh.NamedClients, web))
	policy.Routes[2].Route.Ref.Kind = "GRPCRoute"
	g.set(t, policy)
	for _, c := range []call{
		{by: web, how: "h1", target: "/public", want: "200"}, {by: web, how: "h2", target: "/public/x", want: "200"},
		{by: nobody, how: "h1", target: "/admin", want: "403"}, {by: web, how: "h1", target: "/nowhere", want: "404"},
		{by: web, how: "grpc", target: "/shop.Admin/Drop", want: "200"}, // by an application that knows no gRPC
	} {
		if got := g.try(t, c); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.how, c.target, got, c.want)
		}
	}
	text := g.metrics(t)
	const public = `parent_group="policy.linkerd.io",parent_kind="server",parent_name="cart-1",parent_port="`
	for _, want := range []struct{ family, suffix string }{
		{"inbound_http_requests_total", `route_kind="HTTPRoute",route_name="public"} 2`},
		{"inbound_http_statuses_total", `route_kind="HTTPRoute",route_name="public",status="200"} 2`},
		{"inbound_http_request_duration_seconds_count", `route_kind="HTTPRoute",route_name="public"} 2`},
		{"inbound_http_response_duration_seconds_bucket", `route_kind="HTTPRoute",route_name="public",le="10"} 2`},
		{"inbound_grpc_requests_total", `route_kind="GRPCRoute",route_name="calls"} 1`},
		{"inbound_grpc_statuses_total", `route_kind="GRPCRoute",route_name="calls",status="2"} 1`},
		{"route_request_total", `direction="inbound",rt_route="public"} 2`},
		{"route_response_total", `direction="inbound",rt_route="public",status_code="200",classification="success"} 2`},
	} {
		if countLines(text, want.family, want.suffix) != 1 || strings.HasPrefix(want.family, "inbound") &&
			countLines(text, want.family, public) == 0 {
			t.Errorf("no %s with %s", want.family, want.suffix)
		}
	}
	if countLines(text, "inbound_http_requests_total", `route_name="admin"`) > 0 {
		t.Error("what policy denied counts as let in")
	}
}

// TestConnectionsToTheApplicationAreNobodys relays a meshed client's connection: only the one that came from there is
// its, and mesh TLS.
func TestConnectionsToTheApplicationAreNobodys(t *testing.T) {
	p := startPair(t, pairConfig{app: listen(t, greet("a")), protocol: mesh.Opaque})
	if got, err := ask(p.addr, ""); got != "a" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	var b strings.Builder
	if err := p.server.env.Stats.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if n := countLines(text, "tcp_open_total", `tls="true",client_id="`+web.String()+`"`); n != 1 {
		t.Errorf("%d series with the client, want one", n)
	}
	if countLines(text, "tcp_open_total", `peer="dst",direction="inbound"`) != 1 ||
		countLines(text, "tcp_open_total", `tls="no_identity",no_tls_reason="loopback"} 1`) != 1 {
		t.Error("no series of the connection to the application")
	}
}
