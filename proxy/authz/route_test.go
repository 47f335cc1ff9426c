package authz

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// routed is a route for paths under a prefix, and who may use it.
func routed(name, prefix string, a ...mesh.Authorization) mesh.InboundRoute {
	return mesh.InboundRoute{Authorizations: a, Route: mesh.Route{Ref: refTo(name), Rules: []mesh.Rule{{
		Matches: []mesh.Match{{Path: mesh.PrefixPath, Value: prefix}},
	}}}}
}

func refTo(route string) mesh.Ref {
	return mesh.Ref{Group: "policy.linkerd.io", Kind: "HTTPRoute", Namespace: "shop", Name: route}
}

func TestRoutes(t *testing.T) {
	other := id("shop", "other")
	server := mesh.Authorization{Ref: mesh.Ref{Kind: "AuthorizationPolicy", Name: "server"}, Clients: mesh.NamedClients,
		Identities: []mesh.IdentityMatch{mesh.IdentityMatch(other)}}
	port := compile(mesh.PortPolicy{
		Policy: mesh.Deny, ProbePaths: []string{"/healthz", "/public/live", "/a%2fb"},
		Authorizations: []mesh.Authorization{server},
		Routes: []mesh.InboundRoute{
			routed("public", "/public", mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}),
			routed("admin", "/admin", named(web)), routed("rest", "/rest"),
			routed("open", "/open", mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}),
			routed("secret", "/open/secret", named(web)),
			routed("strict", "/strict;x", mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}),
		},
	})
	plain, meshed := Peer{Addr: inside}, func(i mesh.ID) Peer { return Peer{ID: i, Addr: inside} }
	allow := func(a mesh.Ref, route string) Decision {
		return Decision{Allow: true, Authorization: a, Route: refTo(route)}
	}
	deny := func(route string, why Reason) Decision { return Decision{Route: refTo(route), Reason: why} }
	for name, tc := range map[string]struct {
		peer         Peer
		method, path string
		want         Decision
	}{
		"the route's own authorization":                {plain, "GET", "/public/x", allow(saz, "public")},
		"another route's authorization":                {plain, "GET", "/admin", deny("admin", NoIdentity)},
		"a named client of the route":                  {meshed(web), "GET", "/admin/x?y", allow(saz, "admin")},
		"the server's authorization is for all routes": {meshed(other), "GET", "/admin", allow(server.Ref, "admin")},
		"a route without authorizations":               {meshed(other), "GET", "/rest", allow(server.Ref, "rest")},
		"a route without authorizations, others":       {meshed(web), "GET", "/rest", deny("rest", NotAuthorized)},
		"no route":                                     {meshed(other), "GET", "/", Decision{Reason: NoRoute}},
		"a segment is not its beginning":               {plain, "GET", "/publicity", Decision{Reason: NoRoute}},
		"another spelling of a route":                  {plain, "GET", "/%61dmin", deny("admin", NoIdentity)},
		"an empty segment":                             {plain, "GET", "/rest//admin", deny("rest", NoIdentity)},
		"a host before a path":                         {plain, "GET", "//public/admin", Decision{Reason: AmbiguousPath}},
		"a host behind many slashes":                   {plain, "GET", "////public//admin", Decision{Reason: AmbiguousPath}},
		"a host alone":                                 {plain, "GET", "//public", Decision{Reason: AmbiguousPath}},
		"a host before a path of the same route":       {plain, "GET", "//public/public/x", allow(saz, "public")},
		"dot segments out of a route":                  {plain, "GET", "/public/../admin", Decision{Reason: AmbiguousPath}},
		"encoded dot segments": {plain, "GET", "/public/%2e%2e/admin",
			Decision{Reason: AmbiguousPath}},
		"an encoded slash": {plain, "GET", "/public%2fx", Decision{Reason: AmbiguousPath}},
		"an over-long slash": {plain, "GET", "/public%c0%af..%c0%afadmin",
			Decision{Reason: AmbiguousPath}},
		"over-long dots": {plain, "GET", "/public/%c0%ae%c0%ae/admin",
			Decision{Reason: AmbiguousPath}},
		"an over-long slash at the end": {meshed(other), "GET", "/admin%c0%af",
			Decision{Reason: AmbiguousPath}},
		"octets that are no text":          {meshed(other), "GET", "/admin%ff", Decision{Reason: AmbiguousPath}},
		"letters beyond ASCII":             {plain, "GET", "/public/%c3%a9", allow(saz, "public")},
		"a backslash":                      {plain, "GET", `/public\..\admin`, Decision{Reason: AmbiguousPath}},
		"parameters that hide dots":        {plain, "GET", "/public/..;x/admin", Decision{Reason: AmbiguousPath}},
		"a method in lower case":           {plain, "get", "/public", Decision{Reason: AmbiguousPath}},
		"a method of a later day":          {plain, "M-SEARCH", "/public", allow(saz, "public")},
		"a parameter that hides a route":   {plain, "GET", "/open/x/admin;x", allow(saz, "open")},
		"parameters of a segment":          {plain, "GET", "/public/x;y=1/z;a", allow(saz, "public")},
		"a parameter that hides the route": {plain, "GET", "/open/secret;x", Decision{Reason: AmbiguousPath}},
		"an encoded semicolon":             {plain, "GET", "/open/secret%3bx/y", Decision{Reason: AmbiguousPath}},
		"a segment of a parameter alone":   {plain, "GET", "/open/;x/secret", Decision{Reason: AmbiguousPath}},
		"parameters out of all routes":     {plain, "GET", "/strict;x", Decision{Reason: AmbiguousPath}},
		"a semicolon in the query":         {plain, "GET", "/open/x?a;b", allow(saz, "open")},
		"a path of 8000 bytes": {plain, "GET", "/public/" + strings.Repeat("a", 8000-8),
			allow(saz, "public")},
		"a path that takes long to look at": {plain, "GET", "/public/" + strings.Repeat("a", 8<<10),
			Decision{Reason: AmbiguousPath}},
		"a long query is none of its business": {plain, "GET", "/public?" + strings.Repeat("a", 8<<10),
			allow(saz, "public")},
		"OPTIONS of the server": {meshed(other), "OPTIONS", "*", Decision{Reason: NoRoute}},
		"a probe that no route matches": {Peer{Addr: node}, "GET", "/healthz",
			Decision{Allow: true, Authorization: own(ProbeName), Route: own(ProbeName)}},
		"a probe's path with another query": {Peer{Addr: node}, "GET", "/healthz?x", Decision{Reason: NoRoute}},
		"a probe's path from elsewhere":     {plain, "GET", "/healthz", Decision{Reason: NoRoute}},
		"a probe that a route matches":      {Peer{Addr: node}, "GET", "/public/live", allow(saz, "public")},
		"a probe whose path is ambiguous": {Peer{Addr: node}, "GET", "/a%2fb",
			Decision{Allow: true, Authorization: own(ProbeName), Route: own(ProbeName)}},
		"a probe by another method": {Peer{Addr: node}, "POST", "/healthz", Decision{Reason: NoRoute}},
	} {
		h := request(tc.method, tc.path)
		if got := decide(port, tc.peer, h); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
		if string(h.Path()) != tc.path {
			t.Errorf("%s: the path became %q", name, h.Path())
		}
	}
	if got := port.Decide(meshed(other)); got.Allow || got.Reason != NotHTTP {
		t.Errorf("a connection past the routes: got %+v", got)
	}
}

func TestRoutesAndRequiredIdentity(t *testing.T) {
	port := compile(mesh.PortPolicy{Policy: mesh.AllUnauthenticated, RequireIdentity: true,
		Routes: []mesh.InboundRoute{routed("all", "/a")}})
	for _, path := range []string{"/a", "/b", "/a/../b"} {
		if got := decide(port, Peer{Addr: inside}, request("GET", path)); got.Reason != NoIdentity {
			t.Errorf("%s: got %+v", path, got)
		}
	}
}

func TestAMistakenRouteOpensNothing(t *testing.T) {
	anyone := mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}
	mistaken := routed("admin", "/admin", named(web))
	mistaken.Route.Rules[0].Matches[0] = mesh.Match{Method: "GET", Widened: true}
	mistaken.Route.Rules[0].Invalid = "it cannot be read"
	setting := mesh.PortPolicy{
		Policy: mesh.AllUnauthenticated, ProbePaths: []string{"/healthz"},
		Routes: []mesh.InboundRoute{routed("all", "/", anyone), mistaken},
	}
	plain := Peer{Addr: inside}
	for name, tc := range map[string]struct {
		peer         Peer
		method, path string
		want         Decision
	}{
		"what it may be meant for": {plain, "GET", "/admin", Decision{Reason: InvalidRoute}},
		"to whom it names":         {Peer{ID: web, Addr: inside}, "GET", "/admin", Decision{Reason: InvalidRoute}},
		"what it is not meant for": {plain, "POST", "/admin",
			Decision{Allow: true, Authorization: saz, Route: refTo("all")}},
		"a probe": {Peer{Addr: node}, "GET", "/healthz",
			Decision{Allow: true, Authorization: own(ProbeName), Route: own(ProbeName)}},
		"a probe's path from elsewhere":   {plain, "GET", "/healthz", Decision{Reason: InvalidRoute}},
		"what is no probe, from the node": {Peer{Addr: node}, "GET", "/healthz/x", Decision{Reason: InvalidRoute}},
		"an ambiguous path":               {plain, "GET", "/a/../b", Decision{Reason: AmbiguousPath}},
	} {
		if got := decide(compile(setting), tc.peer, request(tc.method, tc.path)); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
	setting.RequireIdentity = true
	if got := decide(compile(setting), plain, request("GET", "/admin")); got.Reason != NoIdentity {
		t.Errorf("a client without the identity that is required: got %+v", got)
	}
}

func TestStill(t *testing.T) {
	anyone := mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}
	peer := Peer{ID: web, Addr: inside}
	before := compile(mesh.PortPolicy{Policy: mesh.Deny,
		Routes: []mesh.InboundRoute{routed("a", "/a", anyone), routed("b", "/b", anyone)}})
	v := decide(before, peer, request("GET", "/a"))
	tunnel := decide(compile(mesh.PortPolicy{Policy: mesh.AllUnauthenticated}), peer, request("CONNECT", ""))
	whole := decide(compile(mesh.PortPolicy{Policy: mesh.AllUnauthenticated}), peer, request("GET", "/a"))
	for name, tc := range map[string]struct {
		was  Decision
		port mesh.PortPolicy
		want bool
	}{
		"the route keeps its authorization": {v,
			mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{routed("b", "/b"), routed("a", "/a", anyone)}}, true},
		"the route loses its authorization": {v,
			mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{routed("a", "/a"), routed("b", "/b", anyone)}},
			false},
		"the route gets another": {v,
			mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{routed("a", "/a", named(web))}}, true},
		"the route goes, the Server lets in": {v,
			mesh.PortPolicy{Policy: mesh.Deny, Authorizations: []mesh.Authorization{anyone}}, true},
		"the route goes, the Server does not let in": {v,
			mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{routed("b", "/b", anyone)}}, false},
		"all routes go, the policy lets in": {v, mesh.PortPolicy{Policy: mesh.AllAuthenticated}, true},
		"routes come, the Server lets in": {whole,
			mesh.PortPolicy{Policy: mesh.AllAuthenticated, Routes: []mesh.InboundRoute{routed("a", "/a")}}, true},
		"identity is required of those who have it": {v,
			mesh.PortPolicy{Policy: mesh.AllUnauthenticated, RequireIdentity: true}, true},
		"a tunnel, while bytes may pass as well": {tunnel, mesh.PortPolicy{Policy: mesh.AllAuthenticated}, true},
		"a tunnel, when routes come": {tunnel,
			mesh.PortPolicy{Policy: mesh.AllAuthenticated, Routes: []mesh.InboundRoute{routed("a", "/", anyone)}}, false},
		"everybody is denied": {whole, mesh.PortPolicy{Policy: mesh.Deny}, false},
		"a probe, while there are probes": {Decision{Allow: true, Authorization: own(ProbeName)},
			mesh.PortPolicy{Policy: mesh.AllUnauthenticated}, false},
		"a client that the policy of a later day names": {v, mesh.PortPolicy{Policy: "mesh-only"}, false},
	} {
		if got := compile(tc.port).Recheck(peer, tc.was); got.Allow != tc.want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got := compile(mesh.PortPolicy{Policy: mesh.Deny, ProbePaths: []string{"/"}}).Recheck(Peer{Addr: node},
		Decision{Authorization: own(ProbeName), Allow: true}); !got.Allow {
		t.Errorf("a probe of a pod with probes: got %+v", got)
	}
}

// many is a port with n routes, each with an authorization of its own, and n authorizations.
func many(n int) (*Port, Peer, *message.Head) {
	setting := mesh.PortPolicy{Policy: mesh.Deny}
	for i := range n {
		client := named(id("shop", fmt.Sprintf("client-%d", i)))
		setting.Authorizations = append(setting.Authorizations, within(client, fmt.Sprintf("10.%d.0.0/16", i%250)))
		setting.Routes = append(setting.Routes, routed(fmt.Sprintf("route-%d", i), fmt.Sprintf("/api/v%d", i), client))
	}
	last := n - 1
	peer := Peer{ID: id("shop", fmt.Sprintf("client-%d", last)),
		Addr: netip.MustParseAddr(fmt.Sprintf("10.%d.0.1", last%250))}
	return compile(setting), peer, request("GET", fmt.Sprintf("/api/v%d/carts/4711?expand=all", last))
}

func TestRoutedDecisionAllocatesNothing(t *testing.T) {
	port, peer, h := many(200)
	if n := alloctest.Count(t, 1000, func() {
		if !decide(port, peer, h).Allow {
			t.Fatal("denied")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// BenchmarkMatch is what a policy costs each request; BenchmarkDecision what it costs once for a connection and a
// route.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 200} {
		b.Run(fmt.Sprintf("%d rules", n), func(b *testing.B) {
			port, peer, h := many(n)
			for b.Loop() {
				if part, _ := port.Match(peer, h); int(part) != n-1 {
					b.Fatal(part)
				}
			}
		})
	}
}

func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{1, 200, 10_000} {
		port, peer, _ := many(n)
		b.Run(fmt.Sprintf("%d authorizations", n), func(b *testing.B) {
			for b.Loop() {
				if !port.DecidePart(peer, 0).Allow { // by the last one of the Server
					b.Fatal("denied")
				}
			}
		})
		b.Run(fmt.Sprintf("%d authorizations, denied", n), func(b *testing.B) {
			stranger := Peer{ID: id("shop", "stranger"), Addr: peer.Addr}
			for b.Loop() {
				if port.DecidePart(stranger, 0).Allow {
					b.Fatal("allowed")
				}
			}
		})
	}
}

// BenchmarkDecisionByNetwork is for a Server whose n authorizations are for networks alone.
func BenchmarkDecisionByNetwork(b *testing.B) {
	for _, n := range []int{200, 10_000} {
		setting := mesh.PortPolicy{Policy: mesh.Deny}
		for i := range n {
			a := mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}
			setting.Authorizations = append(setting.Authorizations, within(a, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)))
		}
		port := compile(setting)
		b.Run(fmt.Sprintf("%d authorizations", n), func(b *testing.B) {
			peer := Peer{Addr: netip.MustParseAddr("192.0.2.1")}
			for b.Loop() {
				if port.DecidePart(peer, Whole).Allow {
					b.Fatal("allowed")
				}
			}
		})
	}
}

// BenchmarkCompile is what a proxy does when the authorizations of a Server change.
func BenchmarkCompile(b *testing.B) {
	setting := mesh.PortPolicy{Policy: mesh.Deny}
	for i := range 10_000 {
		setting.Authorizations = append(setting.Authorizations, named(id("shop", fmt.Sprintf("client-%d", i))))
	}
	b.Run("10000 authorizations", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compile(setting)
		}
	})
}

// A regular expression takes milliseconds for what fills a head, and everybody else waits meanwhile.
func TestLongValuesAreNotSearched(t *testing.T) {
	search := func(m mesh.Match) *Port {
		return compile(mesh.PortPolicy{Policy: mesh.AllUnauthenticated, Routes: []mesh.InboundRoute{
			{Route: mesh.Route{Rules: []mesh.Rule{{Matches: []mesh.Match{m}},
				{Matches: []mesh.Match{{Path: mesh.PrefixPath, Value: "/"}}}}}},
		}})
	}
	regex := []mesh.FieldMatch{{Name: "x", Value: ".*a", Regex: true}}
	long := strings.Repeat("a", 8<<10)
	for name, tc := range map[string]struct {
		match  mesh.Match
		path   string
		fields []string
		want   bool
	}{
		"a header":               {mesh.Match{Headers: regex}, "/", []string{long}, false},
		"a header in two lines":  {mesh.Match{Headers: regex}, "/", []string{long[:5000], long[:5000]}, false},
		"a header that is short": {mesh.Match{Headers: regex}, "/", []string{"aa"}, true},
		"a header that is compared": {mesh.Match{Headers: []mesh.FieldMatch{{Name: "x", Value: "a"}}}, "/", []string{long},
			true},
		"a query":                    {mesh.Match{Query: regex}, "/?x=" + long, nil, false},
		"a query that is not looked": {mesh.Match{}, "/?x=" + long, nil, true},
	} {
		h := request("GET", tc.path)
		for _, v := range tc.fields {
			h.Add("x", v)
		}
		if got := decide(search(tc.match), Peer{Addr: inside}, h); got.Allow != tc.want || !tc.want &&
			got.Reason != AmbiguousPath {
			t.Errorf("%s: got %+v, want allowed %t", name, got, tc.want)
		}
	}
}
