package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// The callers of the table. The names are chosen to look alike.
var (
	web2    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web2"}
	dotted  = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "a.b"}
	crossed = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "axb"}
	prod    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop-evil", ServiceAccount: "web"}
	nobody  = mesh.ID{}
)

const clientIDField = "l5d-client-id"

// guarded is a pod whose policy changes, and the proxies of its callers. The pod's proxy listens on IPv6 too, so that
// it sees IPv4 clients in their mapped form.
type guarded struct {
	*Proxy
	http, tcp netip.AddrPort // the pod's ports, as strangers reach them
	ports     [2]uint16      // of the applications
	callers   map[mesh.ID]*Proxy
	changes   int
}

func startGuarded(t *testing.T, ids ...mesh.ID) *guarded {
	t.Helper()
	ca := meshtest.NewCA(t)
	web1 := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Header.Get(clientIDField), r.Header.Get("x-added"), r.URL.Path)
	})
	apps := [2]netip.AddrPort{netip.MustParseAddrPort(web1), netip.MustParseAddrPort(listen(t, echo))}
	anywhere := netip.MustParseAddrPort("[::]:0")
	g := &guarded{ports: [2]uint16{apps[0].Port(), apps[1].Port()}, callers: map[mesh.ID]*Proxy{}}
	g.Proxy = start(t, Config{
		Pod: Pod{HostIPs: []netip.Addr{nodeAddr}},
		Local: &Local{Certs: ca.Certs(cart), Inbound: []LocalInbound{{Listen: anywhere, AppAddr: apps[0]},
			{Listen: anywhere, AppAddr: apps[1]}}},
	})
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), g.Addresses().Local.Inbound[i].Port())
	}
	g.http, g.tcp = at(0), at(1)
	to := func(a netip.AddrPort) LocalOutbound {
		return LocalOutbound{Listen: anyPort, Value: mesh.Outbound{Kind: mesh.ToService,
			Endpoints: []mesh.Endpoint{{Addr: a, Identity: cart}}}}
	}
	for _, id := range ids {
		g.callers[id] = start(t, Config{Local: &Local{Certs: ca.Certs(id), Outbound: []LocalOutbound{to(g.http), to(g.tcp)}}})
	}
	return g
}

// nodeAddr is where the pod's node probes from, other where a stranger in the same network lives.
var (
	nodeAddr  = netip.MustParseAddr("127.0.0.9")
	otherAddr = netip.MustParseAddr("127.0.0.2")
	sixAddr   = netip.IPv6Loopback()
)

// set makes a policy the one of both ports, and returns once it is active.
func (g *guarded) set(t *testing.T, p mesh.PortPolicy) {
	t.Helper()
	g.changes++
	p.Server = mesh.Ref{Group: "policy.linkerd.io", Kind: "Server", Namespace: "shop",
		Name: fmt.Sprintf("cart-%d", g.changes)}
	g.fixed.inbound.Store(&mesh.Inbound{
		ClusterNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/30")},
		Default:         mesh.PortPolicy{Policy: mesh.Deny},
		Ports:           map[uint16]mesh.PortPolicy{g.ports[0]: p, g.ports[1]: p},
	})
	deadline := time.Now().Add(10 * time.Second)
	for g.Proxy.inbound.Policy().Port(g.ports[0]).Server() != p.Server {
		if time.Now().After(deadline) {
			t.Fatal("policy did not come into force")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		<-ctx.Done()
		cancel()
	}
}

// entrance returns where a caller's application connects to for the HTTP port or the other.
func (g *guarded) entrance(id mesh.ID, http bool) string {
	i, direct := 1, g.tcp
	if http {
		i, direct = 0, g.http
	}
	if id.IsZero() {
		return direct.String()
	}
	return g.callers[id].Addresses().Local.Outbound[i].String()
}

// call is one attempt, and what comes of it: an HTTP status, "grpc " and a status, "echo", or "reset".
type call struct {
	by     mesh.ID
	from   netip.Addr // of a caller without identity; zero for 127.0.0.1
	how    string     // h1, h2, grpc or tcp
	target string     // [METHOD ]path, "/" if empty
	want   string
}

func (g *guarded) try(t *testing.T, c call) string {
	t.Helper()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	addr := g.entrance(c.by, c.how != "tcp")
	if c.from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 0))
	}
	if c.from.Is6() {
		addr = netip.AddrPortFrom(c.from, netip.MustParseAddrPort(addr).Port()).String()
	}
	if c.how == "tcp" {
		return tryTCP(t, dialer, addr)
	}
	tr := &http.Transport{
		Protocols:   new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) },
	}
	tr.Protocols.SetHTTP1(c.how == "h1")
	tr.Protocols.SetUnencryptedHTTP2(c.how != "h1")
	defer tr.CloseIdleConnections()
	method, path, ok := strings.Cut(c.target, " ")
	if !ok {
		method, path = "GET", c.target
	}
	req, err := http.NewRequest(method, "http://cart.shop"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if c.how == "grpc" {
		req.Method = "POST"
		req.Header.Set("Content-Type", "application/grpc")
	}
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second, CheckRedirect: noRedirect}).Do(req)
	if err != nil {
		if isReset(err) {
			return "reset"
		}
		return err.Error()
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if status := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status"); status != "" {
		return "grpc " + status
	}
	return fmt.Sprint(res.StatusCode)
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// tryTCP sends bytes that are no protocol's, and expects them back.
func tryTCP(t *testing.T, d *net.Dialer, addr string) string {
	t.Helper()
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err = io.WriteString(conn, "\x00ping"); err == nil {
		_, err = io.ReadFull(conn, got)
	}
	switch {
	case isReset(err):
		return "reset"
	case err != nil:
		return err.Error()
	default:
		return "echo"
	}
}

// by names a client of every kind of protocol, with what each shall see: HTTP and gRPC statuses, and the connection.
func by(id mesh.ID, http, grpc, tcp string) []call {
	return []call{{by: id, how: "h1", want: http}, {by: id, how: "h2", want: http}, {by: id, how: "grpc", want: grpc},
		{by: id, how: "tcp", want: tcp}}
}

// allowed and denied are by for those two.
func allowed(id mesh.ID) []call { return by(id, "200", "200", "echo") }
func denied(id mesh.ID) []call  { return by(id, "403", "grpc 7", "reset") }

func calls(lists ...[]call) (out []call) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func authorize(clients mesh.ClientKind, ids ...mesh.ID) mesh.Authorization {
	a := mesh.Authorization{Ref: mesh.Ref{Group: "policy.linkerd.io", Kind: "ServerAuthorization", Namespace: "shop",
		Name: "some"}, Clients: clients}
	for _, id := range ids {
		a.Identities = append(a.Identities, mesh.IdentityMatch(id))
	}
	return a
}

func only(a ...mesh.Authorization) mesh.PortPolicy {
	return mesh.PortPolicy{Policy: mesh.Deny, Authorizations: a}
}

func networked(a mesh.Authorization, network string, except ...string) mesh.Authorization {
	n := mesh.Network{Net: netip.MustParsePrefix(network)}
	for _, e := range except {
		n.Except = append(n.Except, netip.MustParsePrefix(e))
	}
	a.Networks = append(a.Networks, n)
	return a
}

// probing is a policy whose pod has probes.
func probing(p mesh.PortPolicy) mesh.PortPolicy {
	p.ProbePaths = []string{"/healthz", "/live?full=1", mesh.GRPCProbePath}
	return p
}

// guarding is a policy with one route, for a prefix.
func guarding(prefix string, a ...mesh.Authorization) mesh.PortPolicy {
	return mesh.PortPolicy{Policy: mesh.Deny,
		Routes: []mesh.InboundRoute{routed("all", mesh.Match{Path: mesh.PrefixPath, Value: prefix}, a...)}}
}

// byRoute is a policy with a route that everybody may GET, /public, and two that those may use whom admin names: /admin
// and the calls of shop.Admin.
func byRoute(admin ...mesh.Authorization) mesh.PortPolicy {
	return mesh.PortPolicy{Policy: mesh.Deny, Routes: []mesh.InboundRoute{
		routed("public", mesh.Match{Path: mesh.PrefixPath, Value: "/public", Method: "GET"}, authorize(mesh.AnyClients)),
		routed("admin", mesh.Match{Path: mesh.PrefixPath, Value: "/admin"}, admin...),
		routed("calls", mesh.Match{Path: mesh.GRPCExact, Service: "shop.Admin"}, admin...),
	}}
}

func routed(name string, m mesh.Match, a ...mesh.Authorization) mesh.InboundRoute {
	ref := mesh.Ref{Group: "policy.linkerd.io", Kind: "HTTPRoute", Namespace: "shop", Name: name}
	return mesh.InboundRoute{Route: mesh.Route{Ref: ref, Rules: []mesh.Rule{{Matches: []mesh.Match{m}}}},
		Authorizations: a}
}

func serving(p mesh.PortPolicy, a ...mesh.Authorization) mesh.PortPolicy {
	p.Authorizations = a
	return p
}

func opaque(p mesh.PortPolicy) mesh.PortPolicy {
	p.Protocol = mesh.Opaque
	return p
}

// TestAuthorizationTable is who may call whom, over real sockets and real proxies.
func TestAuthorizationTable(t *testing.T) {
	g := startGuarded(t, web, web2, dotted, crossed, prod)
	for _, tc := range []struct {
		name   string
		policy mesh.PortPolicy
		calls  []call
	}{
		{"deny by default", only(), calls(denied(web), denied(nobody))},
		{"a named client, and those that look like it", only(authorize(mesh.NamedClients, web)),
			calls(allowed(web), denied(web2), denied(prod), denied(nobody))},
		{"a dot is not any character", only(authorize(mesh.NamedClients, dotted)), calls(allowed(dotted), denied(crossed))},
		{"a whole namespace", only(authorize(mesh.NamedClients, mesh.ID{TrustDomain: "cluster.local", Namespace: "shop"})),
			calls(allowed(web), allowed(web2), denied(prod), denied(nobody))},
		{"another trust domain", only(authorize(mesh.NamedClients, mesh.ID{TrustDomain: "cluster.localx"})), denied(web)},
		{"any meshed client", only(authorize(mesh.AuthenticatedClients)), calls(allowed(web), allowed(prod), denied(nobody))},
		{"anybody", only(authorize(mesh.AnyClients)), calls(allowed(web), allowed(nobody))},
		{"an identity and its network", only(networked(authorize(mesh.NamedClients, web), "127.0.0.0/8")),
			calls(allowed(web), denied(web2))},
		{"an identity in another network", only(networked(authorize(mesh.NamedClients, web), "10.0.0.0/8")), denied(web)},
		{"one of two authorizations", only(authorize(mesh.NamedClients, web2), authorize(mesh.NamedClients, web)),
			calls(allowed(web), allowed(web2), denied(prod))},
		{"a network with an exception", only(networked(authorize(mesh.AnyClients), "127.0.0.0/8", "127.0.0.2/32")),
			calls(allowed(nobody),
				[]call{{from: otherAddr, how: "h1", want: "403"}, {from: otherAddr, how: "tcp", want: "reset"}})},
		{"an exception in mapped form", only(networked(authorize(mesh.AnyClients), "127.0.0.0/8", "::ffff:127.0.0.2/128")),
			[]call{{how: "h1", want: "200"}, {from: otherAddr, how: "h1", want: "403"}}},
		{"IPv4 clients are in no IPv6 network", only(networked(authorize(mesh.AnyClients), "::/0")),
			calls(denied(nobody), []call{{from: sixAddr, how: "h1", want: "200"}, {from: sixAddr, how: "tcp", want: "echo"}})},
		{"an IPv6 client is in no IPv4 network", only(networked(authorize(mesh.AnyClients), "0.0.0.0/0")),
			calls(allowed(nobody), []call{{from: sixAddr, how: "h1", want: "403"}, {from: sixAddr, how: "tcp", want: "reset"}})},
		{"loopback of IPv4 is not that of IPv6", only(networked(authorize(mesh.AnyClients), "::1/128")),
			[]call{{how: "h1", want: "403"}, {from: sixAddr, how: "h1", want: "200"}}},
		{"an IPv6 network with an exception", only(networked(authorize(mesh.AnyClients), "::/0", "::1/128")),
			[]call{{from: sixAddr, how: "h1", want: "403"}}},
		{"the cluster's networks", mesh.PortPolicy{Policy: mesh.ClusterUnauthenticated},
			[]call{{from: otherAddr, how: "h1", want: "200"}, {from: nodeAddr, how: "h1", want: "403"},
				{from: nodeAddr, how: "tcp", want: "reset"}}},
		{"the cluster's networks, meshed", mesh.PortPolicy{Policy: mesh.ClusterAuthenticated},
			calls(allowed(web), denied(nobody))},
		{"plaintext to an authenticated port", mesh.PortPolicy{Policy: mesh.AllAuthenticated},
			calls(allowed(web), denied(nobody))},
		{"required identity outweighs an authorization", mesh.PortPolicy{
			Policy: mesh.AllUnauthenticated, RequireIdentity: true,
			Authorizations: []mesh.Authorization{authorize(mesh.AnyClients)},
		}, calls(allowed(web), denied(nobody))},
		{"the access policy takes the others", mesh.PortPolicy{
			Policy: mesh.ClusterUnauthenticated, Authorizations: []mesh.Authorization{
				networked(authorize(mesh.AnyClients), "127.0.0.9/32")},
		}, []call{{from: nodeAddr, how: "h1", want: "200"}, {from: otherAddr, how: "h1", want: "200"},
			{from: netip.MustParseAddr("127.0.0.77"), how: "h1", want: "403"}}},
		{"audit lets in", mesh.PortPolicy{Policy: mesh.Audit}, calls(allowed(web), allowed(nobody))},
		{"probes", probing(only()), []call{
			{from: nodeAddr, how: "h1", target: "/healthz", want: "200"},
			{from: nodeAddr, how: "h1", target: "/healthz?x=1", want: "403"},
			{from: nodeAddr, how: "h1", target: "/live?full=1", want: "200"},
			{from: nodeAddr, how: "h1", target: "/live", want: "403"},
			{from: nodeAddr, how: "grpc", target: mesh.GRPCProbePath, want: "200"},
			{from: nodeAddr, how: "grpc", target: "/shop.Cart/Get", want: "grpc 7"},
			{from: otherAddr, how: "grpc", target: mesh.GRPCProbePath, want: "grpc 7"},
			{from: nodeAddr, how: "h2", target: "/healthz", want: "200"},
			{from: nodeAddr, how: "h1", target: "POST /healthz", want: "403"},
			{from: nodeAddr, how: "h1", target: "/healthz/", want: "403"},
			{from: nodeAddr, how: "h1", target: "/healthz/../admin", want: "403"},
			{from: nodeAddr, how: "h1", target: "/admin?/healthz", want: "403"},
			{from: nodeAddr, how: "tcp", want: "reset"},
			{from: otherAddr, how: "h1", target: "/healthz", want: "403"},
			{by: web, how: "h1", target: "/healthz", want: "403"},
		}},
		{"an opaque port knows identities only", mesh.PortPolicy{
			Protocol: mesh.Opaque, Policy: mesh.Deny, Authorizations: []mesh.Authorization{authorize(mesh.NamedClients, web)},
		}, []call{{by: web, how: "tcp", want: "echo"}, {by: web2, how: "tcp", want: "reset"},
			{by: nobody, how: "tcp", want: "reset"}, {by: nobody, how: "h1", want: "reset"}}},
		{"a route lets in whom it names", byRoute(authorize(mesh.NamedClients, web)), calls(
			by(web, "404", "grpc 5", "reset"), []call{
				{by: web, how: "h1", target: "/admin", want: "200"},
				{by: web, how: "h2", target: "/admin/x?y=/public", want: "200"},
				{by: web, how: "grpc", target: "/shop.Admin/Drop", want: "200"},
				{by: web2, how: "h1", target: "/admin", want: "403"},
				{by: web2, how: "grpc", target: "/shop.Admin/Drop", want: "grpc 7"},
				{by: nobody, how: "h1", target: "/admin", want: "403"},
				{by: nobody, how: "h1", target: "/public", want: "200"},
				{by: nobody, how: "h2", target: "/public/x", want: "200"},
				{by: nobody, how: "h1", target: "/publicity", want: "404"},
				{by: nobody, how: "h1", target: "POST /public", want: "404"},
			})},
		{"who may use the Server may use its routes", serving(byRoute(), authorize(mesh.NamedClients, web2)), []call{
			{by: web2, how: "h1", target: "/admin", want: "200"},
			{by: web2, how: "h1", target: "/", want: "404"},
			{by: web2, how: "tcp", want: "reset"},
			{by: web, how: "h1", target: "/admin", want: "403"},
			{by: web, how: "h1", target: "/public", want: "200"},
		}},
		{"paths that are spelled otherwise", byRoute(authorize(mesh.NamedClients, web)), []call{
			{how: "h1", target: "/%61dmin", want: "403"},
			{how: "h1", target: "//admin", want: "400"},
			{how: "h1", target: "/admin//x", want: "403"},
			{how: "h2", target: "/%61dmin/x", want: "403"},
			{how: "h1", target: "/Admin", want: "404"},
			{how: "h1", target: "/public/../admin", want: "400"},
			{how: "h2", target: "/public/../admin", want: "400"},
			{how: "grpc", target: "/public/../admin", want: "grpc 13"},
			{how: "h1", target: "/public/%2e%2e/admin", want: "400"},
			{how: "h1", target: "/public/.%2E/admin", want: "400"},
			{how: "h1", target: "/public/..;x/admin", want: "400"},
			{how: "h1", target: "/public%2f..%2fadmin", want: "400"},
			{how: "h1", target: "/public%5c..%5cadmin", want: "400"},
			{how: "h1", target: "/public/%252e%252e/admin", want: "400"},
			{how: "h1", target: "/public%00", want: "400"},
			{how: "h1", target: "/public/%c0%ae%c0%ae/admin", want: "400"},
			{how: "h2", target: "/public%c0%af..%c0%afadmin", want: "400"},
			{how: "h1", target: "/public/%e2%82%ac", want: "200"},
		}},
		{"probes of a pod with routes", probing(byRoute(authorize(mesh.NamedClients, web))), []call{
			{from: nodeAddr, how: "h1", target: "/healthz", want: "200"},
			{from: nodeAddr, how: "h1", target: "POST /healthz", want: "404"},
			{from: otherAddr, how: "h1", target: "/healthz", want: "404"},
		}},
		{"a probe that a route takes over", probing(guarding("/", authorize(mesh.NamedClients, web))), []call{
			{from: nodeAddr, how: "h1", target: "/healthz", want: "403"},
			{by: web, how: "h1", target: "/healthz", want: "200"},
		}},
		{"an opaque port with routes takes nobody", opaque(serving(byRoute(), authorize(mesh.AnyClients))), []call{
			{by: web, how: "tcp", want: "reset"}, {by: nobody, how: "tcp", want: "reset"},
			{by: nobody, how: "h1", target: "/public", want: "reset"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g.set(t, tc.policy)
			for _, c := range tc.calls {
				if c.target == "" {
					c.target = "/"
				}
				if got := g.try(t, c); got != c.want {
					t.Errorf("%s of %q from %v to %s: got %s, want %s", c.how, c.by, c.from, c.target, got, c.want)
				}
			}
		})
	}
}
