package authz

import (
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

var (
	web    = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	inside = netip.MustParseAddr("10.1.2.3")
	public = netip.MustParseAddr("192.0.2.1")
	node   = netip.MustParseAddr("172.18.0.2")
)

func compile(port mesh.PortPolicy) *Port {
	return Compile(&mesh.Inbound{
		ClusterNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		Default:         mesh.PortPolicy{Policy: mesh.Deny},
		Ports:           map[uint16]mesh.PortPolicy{80: port},
	}, []netip.Addr{node, netip.MustParseAddr("fe80::1%eth0")}).Port(80)
}

func request(method, path string) *message.Head {
	h := &message.Head{}
	h.SetPart(message.Method, method)
	h.SetPart(message.Path, path)
	return h
}

func decide(p *Port, peer Peer, h *message.Head) Decision {
	part, _ := p.Match(peer, h)
	return p.DecidePart(peer, part)
}

func TestDecide(t *testing.T) {
	meshed := func(a netip.Addr) Peer { return Peer{ID: web, Addr: a} }
	plain := func(a netip.Addr) Peer { return Peer{Addr: a} }
	for name, tc := range map[string]struct {
		policy mesh.AccessPolicy
		peer   Peer
		want   Decision
	}{
		"all-unauthenticated lets anyone in":          {mesh.AllUnauthenticated, plain(public), Decision{Allow: true}},
		"all-authenticated lets a meshed peer in":     {mesh.AllAuthenticated, meshed(public), Decision{Allow: true}},
		"all-authenticated wants an identity":         {mesh.AllAuthenticated, plain(inside), Decision{Reason: NoIdentity}},
		"cluster-unauthenticated lets the cluster in": {mesh.ClusterUnauthenticated, plain(inside), Decision{Allow: true}},
		"cluster-unauthenticated keeps others out": {mesh.ClusterUnauthenticated, meshed(public),
			Decision{Reason: OutsideCluster}},
		"cluster-authenticated lets a meshed peer in": {mesh.ClusterAuthenticated, meshed(inside), Decision{Allow: true}},
		"cluster-authenticated wants an identity": {mesh.ClusterAuthenticated, plain(inside),
			Decision{Reason: NoIdentity}},
		"cluster-authenticated wants the cluster": {mesh.ClusterAuthenticated, meshed(public),
			Decision{Reason: OutsideCluster}},
		"deny keeps everyone out":            {mesh.Deny, meshed(inside), Decision{Reason: Denied}},
		"audit lets in and says so":          {mesh.Audit, plain(public), Decision{Allow: true, Audited: true}},
		"a policy of a later release denies": {"mesh-only", meshed(inside), Decision{Reason: Denied}},
		"no policy denies":                   {"", meshed(inside), Decision{Reason: Denied}},
		"IPv4-mapped address counts as IPv4": {mesh.ClusterUnauthenticated,
			plain(netip.MustParseAddr("::ffff:10.1.2.3")), Decision{Allow: true}},
		"IPv4-mapped address outside stays outside": {mesh.ClusterUnauthenticated,
			plain(netip.MustParseAddr("::ffff:192.0.2.1")), Decision{Reason: OutsideCluster}},
		"IPv6 of the cluster": {mesh.ClusterUnauthenticated, plain(netip.MustParseAddr("fd00::1")),
			Decision{Allow: true}},
		"IPv6 with a zone is compared without it": {mesh.ClusterUnauthenticated,
			plain(netip.MustParseAddr("fd00::1%eth0")), Decision{Allow: true}},
		"IPv6 loopback is no cluster network": {mesh.ClusterUnauthenticated, plain(netip.IPv6Loopback()),
			Decision{Reason: OutsideCluster}},
		"IPv6 that embeds the digits of IPv4 stays IPv6": {mesh.ClusterUnauthenticated,
			plain(netip.MustParseAddr("::10.1.2.3")), Decision{Reason: OutsideCluster}},
		"an address that is none belongs to no network": {mesh.ClusterUnauthenticated, plain(netip.Addr{}),
			Decision{Reason: OutsideCluster}},
		"a node's probe path does not open a connection": {mesh.AllAuthenticated, plain(node), Decision{Reason: NoIdentity}},
	} {
		if tc.want.Allow {
			tc.want.Authorization = own(string(tc.policy))
		}
		if got := compile(mesh.PortPolicy{Policy: tc.policy}).Decide(tc.peer); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestRequireIdentityComesFirst(t *testing.T) {
	for _, policy := range mesh.AccessPolicies {
		port := compile(mesh.PortPolicy{Policy: policy, RequireIdentity: true})
		if got := port.Decide(Peer{Addr: inside}); got.Allow || got.Reason != NoIdentity {
			t.Errorf("%s: peer without identity got %+v", policy, got)
		}
	}
}

func TestMappedClusterNetwork(t *testing.T) {
	p := Compile(&mesh.Inbound{
		ClusterNetworks: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")},
		Default:         mesh.PortPolicy{Policy: mesh.ClusterUnauthenticated},
	}, nil)
	if !p.Port(1).Decide(Peer{Addr: inside}).Allow || p.Port(1).Decide(Peer{Addr: public}).Allow {
		t.Error("IPv4-mapped network does not mean the IPv4 network")
	}
}

func TestProbes(t *testing.T) {
	port := compile(mesh.PortPolicy{Policy: mesh.AllAuthenticated, RequireIdentity: true,
		ProbePaths: []string{"/healthz", "/a/b", "/live?verbose=1", mesh.GRPCProbePath}})
	for name, tc := range map[string]struct {
		from         netip.Addr
		method, path string
		want         bool
	}{
		"exact path and query":              {node, "GET", "/live?verbose=1", true},
		"no query":                          {node, "GET", "/live", false},
		"another query":                     {node, "GET", "/live?verbose=2", false},
		"more of a query":                   {node, "GET", "/live?verbose=1&command=x", false},
		"exact path":                        {node, "GET", "/healthz", true},
		"second path":                       {node, "GET", "/a/b", true},
		"a query":                           {node, "GET", "/healthz?verbose=1&x=/../", false},
		"an empty query":                    {node, "GET", "/healthz?", false},
		"mapped address of the node":        {netip.MustParseAddr("::ffff:172.18.0.2"), "GET", "/healthz", true},
		"link-local address of the node":    {netip.MustParseAddr("fe80::1"), "GET", "/healthz", true},
		"gRPC":                              {node, "POST", "/grpc.health.v1.Health/Check", true},
		"gRPC, a query":                     {node, "POST", "/grpc.health.v1.Health/Check?x", false},
		"gRPC by GET":                       {node, "GET", "/grpc.health.v1.Health/Check", false},
		"another gRPC method":               {node, "POST", "/grpc.health.v1.Health/Watch", false},
		"gRPC of another pod":               {inside, "POST", "/grpc.health.v1.Health/Check", false},
		"another pod":                       {inside, "GET", "/healthz", false},
		"another method":                    {node, "POST", "/healthz", false},
		"lower-case method is another":      {node, "get", "/healthz", false},
		"prefix of a path":                  {node, "GET", "/health", false},
		"path below":                        {node, "GET", "/healthz/", false},
		"dot segments lead elsewhere":       {node, "GET", "/healthz/../admin", false},
		"encoded spelling is another":       {node, "GET", "/health%7a", false},
		"query that ends in a probe's path": {node, "GET", "/admin?/healthz", false},
		"empty path":                        {node, "GET", "", false},
	} {
		h := request(tc.method, tc.path)
		if tc.method == "POST" {
			h.Version, h.HasBody = message.HTTP2, true
			h.Add("content-type", "application/grpc")
		}
		got := decide(port, Peer{Addr: tc.from}, h)
		if got.Allow != tc.want {
			t.Errorf("%s: got %+v", name, got)
		}
		if tc.want && (got.Authorization != own(ProbeName) || got.Route != own(ProbeName)) {
			t.Errorf("%s: got %+v, want %q", name, got, ProbeName)
		}
	}
}

// TestWhatTheKubeletNeverSends is by a probe's method and path, and yet no probe.
func TestWhatTheKubeletNeverSends(t *testing.T) {
	port := compile(mesh.PortPolicy{Policy: mesh.Deny, ProbePaths: []string{"/healthz", mesh.GRPCProbePath}})
	for name, change := range map[string]func(*Peer, *message.Head){
		"a body":      func(_ *Peer, h *message.Head) { h.HasBody = true },
		"an identity": func(p *Peer, _ *message.Head) { p.ID = web },
		"a call in HTTP/1": func(_ *Peer, h *message.Head) {
			h.SetPart(message.Method, "POST")
			h.SetPart(message.Path, mesh.GRPCProbePath)
			h.Add("content-type", "application/grpc")
		},
		"a call that is none": func(_ *Peer, h *message.Head) {
			h.SetPart(message.Method, "POST")
			h.SetPart(message.Path, mesh.GRPCProbePath)
			h.Version = message.HTTP2
		},
		"a call of a probe's path": func(_ *Peer, h *message.Head) {
			h.SetPart(message.Method, "POST")
			h.Version = message.HTTP2
			h.Add("content-type", "application/grpc")
		},
		"a GET of a call's path, and more": func(_ *Peer, h *message.Head) {
			h.SetPart(message.Path, mesh.GRPCProbePath)
			h.HasBody = true
		},
	} {
		peer, h := Peer{Addr: node}, request("GET", "/healthz")
		if !port.IsProbe(peer, h) {
			t.Fatal("the probe itself is none")
		}
		change(&peer, h)
		if port.IsProbe(peer, h) {
			t.Errorf("%s: is a probe", name)
		}
	}
}

func TestRangesOfPortsCount(t *testing.T) {
	p := Compile(&mesh.Inbound{
		Default:              mesh.PortPolicy{Policy: mesh.AllUnauthenticated},
		OpaquePorts:          mesh.PortSet{{First: 3000, Last: 3999}},
		RequireIdentityPorts: mesh.PortSet{{First: 80, Last: 90}},
	}, nil)
	if p.Port(3306).Protocol() != mesh.Opaque || p.Port(80).Decide(Peer{Addr: inside}).Allow ||
		!p.Port(91).Decide(Peer{Addr: inside}).Allow {
		t.Error("a range of ports is not honoured")
	}
}

func TestOtherPortsHaveTheDefault(t *testing.T) {
	p := Compile(&mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}}, nil)
	if got := p.Port(1234).Decide(Peer{ID: web}); got.Allow {
		t.Errorf("got %+v", got)
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	port := compile(mesh.PortPolicy{Policy: mesh.ClusterAuthenticated, ProbePaths: []string{"/healthz"}})
	h := request("GET", "/healthz?x")
	if n := alloctest.Count(t, 1000, func() {
		if !decide(port, Peer{ID: web, Addr: inside}, h).Allow {
			t.Fatal("denied")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// A connection that hides its requests would hide them from routes and rate limits, and could name somebody else to the
// application.
func TestPortsOfRequests(t *testing.T) {
	limit := &mesh.RateLimit{Total: 1}
	routes := []mesh.InboundRoute{routed("a", "/a")}
	for name, tc := range map[string]struct {
		port mesh.PortPolicy
		want bool
	}{
		"nothing is said":                 {mesh.PortPolicy{}, false},
		"routes":                          {mesh.PortPolicy{Routes: routes}, true},
		"a rate limit":                    {mesh.PortPolicy{RateLimit: limit}, true},
		"declared HTTP/1":                 {mesh.PortPolicy{Protocol: mesh.HTTP1}, true},
		"declared HTTP/2":                 {mesh.PortPolicy{Protocol: mesh.HTTP2}, true},
		"declared opaque":                 {mesh.PortPolicy{Protocol: mesh.Opaque}, false},
		"declared opaque, a rate limit":   {mesh.PortPolicy{Protocol: mesh.Opaque, RateLimit: limit}, false},
		"declared opaque, routes: nobody": {mesh.PortPolicy{Protocol: mesh.Opaque, Routes: routes}, true},
	} {
		tc.port.Policy = mesh.AllUnauthenticated
		port := compile(tc.port)
		if got := port.Decide(Peer{ID: web, Addr: inside}); port.HTTPOnly() != tc.want || got.Allow == tc.want {
			t.Errorf("%s: requests only %t, a connection %+v; want requests only %t", name, port.HTTPOnly(), got, tc.want)
		}
	}
}
