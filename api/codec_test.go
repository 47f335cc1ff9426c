package api

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

var compareAddrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func noPause() {}

// FuzzRoundTrip shows that Decode(Encode(x)) equals x, through real bytes, for values drawn from a seed.
func FuzzRoundTrip(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		out := g.outbound()
		var wireOut pb.Outbound
		throughBytes(t, EncodeOutbound(out), &wireOut)
		gotOut, err := DecodeOutbound(&wireOut, noPause)
		if diff := cmp.Diff(out, gotOut, compareAddrs); err != nil || diff != "" {
			t.Errorf("outbound: error %v (-want +got):\n%s", err, diff)
		}
		in := g.inbound()
		var wireIn pb.Inbound
		throughBytes(t, EncodeInbound(in), &wireIn)
		gotIn, err := DecodeInbound(&wireIn)
		if diff := cmp.Diff(in, gotIn, comparePrefixes); err != nil || diff != "" {
			t.Errorf("inbound: error %v (-want +got):\n%s", err, diff)
		}
		target := mesh.Target{Addr: g.addr()}
		if got, err := DecodeTarget(EncodeTarget(target)); err != nil || got != target {
			t.Errorf("target: got %v, %v; want %v", got, err, target)
		}
	})
}

// FuzzDecode shows that bytes of a peer never panic the decoders, and that what they accept is a value that survives a
// round trip.
func FuzzDecode(f *testing.F) {
	g := generator{rand.New(rand.NewPCG(1, 1))}
	for range 8 {
		out, _ := proto.Marshal(EncodeOutbound(g.outbound()))
		in, _ := proto.Marshal(EncodeInbound(g.inbound()))
		addFields(f, out)
		addFields(f, in)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var wireOut pb.Outbound
		if proto.Unmarshal(data, &wireOut) == nil {
			if out, err := DecodeOutbound(&wireOut, noPause); err == nil {
				again, err := DecodeOutbound(EncodeOutbound(out), noPause)
				if err != nil || !out.Equal(again) {
					t.Errorf("outbound: accepted %v, then %v, %v", out, again, err)
				}
			}
		}
		var wireIn pb.Inbound
		if proto.Unmarshal(data, &wireIn) == nil {
			if in, err := DecodeInbound(&wireIn); err == nil {
				again, err := DecodeInbound(EncodeInbound(in))
				if err != nil || !in.Equal(again) {
					t.Errorf("inbound: accepted %v, then %v, %v", in, again, err)
				}
			}
		}
	})
}

// maxSeed keeps seeds small. Go minimizes each input that reaches new code, which takes time with the square of its
// length: with whole messages of 2 kB as seeds, the workers minimized for a minute at a time and tried nothing new.
const maxSeed = 256

// addFields adds each field of a message as a seed. A field alone is a message too.
func addFields(f *testing.F, message []byte) {
	f.Helper()
	for len(message) > 0 {
		_, _, n := protowire.ConsumeField(message)
		if n < 0 {
			f.Fatalf("consume field: %v", protowire.ParseError(n))
		}
		if n <= maxSeed {
			f.Add(message[:n])
		}
		message = message[n:]
	}
}

func TestInboundTargetIsAbsent(t *testing.T) {
	if a := EncodeTarget(mesh.Target{}); a != nil {
		t.Errorf("EncodeTarget(inbound) = %v, want nil", a)
	}
	if got, err := DecodeTarget(nil); err != nil || !got.IsInbound() {
		t.Errorf("DecodeTarget(nil) = %v, %v; want the inbound target", got, err)
	}
}

func TestMappedAddressIsUnmapped(t *testing.T) {
	mapped := netip.MustParseAddr("::ffff:10.1.2.3").As16()
	got, err := DecodeTarget(&pb.Address{Ip: mapped[:], Port: 80})
	if want := (mesh.Target{Addr: netip.MustParseAddrPort("10.1.2.3:80")}); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestUnknownPolicyDenies(t *testing.T) {
	for _, policy := range []string{"", "allow-on-fridays"} {
		in, err := DecodeInbound(&pb.Inbound{Default: &pb.PortPolicy{Policy: policy}})
		if err != nil || in.Default.Policy != mesh.Deny {
			t.Errorf("policy %q: got %+v, %v; want deny", policy, in, err)
		}
	}
	if in, err := DecodeInbound(&pb.Inbound{}); err != nil || in.Port(80).Policy != mesh.Deny {
		t.Errorf("no policy at all: got %+v, %v; want deny", in, err)
	}
}

func TestAuthorizationThatIsNotUnderstoodLetsNobodyIn(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	later := func(a *pb.Authorization, part proto.Message) *pb.Authorization {
		part.ProtoReflect().SetUnknown(unknown)
		return a
	}
	prefix := &pb.Prefix{Ip: []byte{10, 0, 0, 0}, Bits: 8}
	network, match := &pb.Network{Prefix: prefix}, &pb.IdentityMatch{}
	for name, a := range map[string]*pb.Authorization{
		"no kind of client and no identity": {},
		"a later kind of client":            {Clients: 3, Identities: []*pb.IdentityMatch{{}}},
		"a negative kind of client":         {Clients: -1, Identities: []*pb.IdentityMatch{{}}},
		"a later demand on an identity":     later(&pb.Authorization{Identities: []*pb.IdentityMatch{match}}, match),
		"a later demand on a network": later(&pb.Authorization{Clients: pb.Authorization_ANY,
			Networks: []*pb.Network{network}}, network),
	} {
		got, err := decodeAuthorization(a)
		if err != nil || got.Clients != mesh.NamedClients || len(got.Identities) != 0 {
			t.Errorf("%s: got %+v, %v; want an authorization of nobody", name, got, err)
		}
	}
	whole := &pb.Authorization{Clients: pb.Authorization_ANY}
	if got, err := decodeAuthorization(later(whole, whole)); err != nil || got.Clients != mesh.NamedClients {
		t.Errorf("a later demand: got %+v, %v; want an authorization of nobody", got, err)
	}
}

// A match that is not understood whole at a port may guard what other routes open: it must come before theirs.
func TestInboundMatchThatIsNotUnderstoodIsWidened(t *testing.T) {
	ref := mesh.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "lock"}
	matches := []mesh.Match{{Path: mesh.ExactPath, Value: "/a"}, {Path: mesh.ExactPath, Value: "/b"},
		{Path: mesh.ExactPath, Value: "/c", Headers: []mesh.FieldMatch{{Name: "x"}}}}
	in := &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny,
		Routes: []mesh.InboundRoute{{Route: mesh.Route{Ref: ref, Rules: []mesh.Rule{{Matches: matches}}}}}}}
	wire := EncodeInbound(in)
	sent := wire.GetDefault().GetRoutes()[0].GetRoute().GetRules()[0].GetMatches()
	sent[1].Path = 99
	sent[2].GetHeaders()[0].ProtoReflect().SetUnknown(newer)
	got, err := DecodeInbound(wire)
	if err != nil {
		t.Fatal(err)
	}
	rule := got.Default.Routes[0].Route.Rules[0]
	for i, want := range []bool{false, true, true} {
		if rule.Matches[i].Widened != want || rule.Invalid == "" {
			t.Errorf("match %d: got %+v of a rule that is invalid because %q", i, rule.Matches[i], rule.Invalid)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	ok := &pb.Address{Ip: []byte{10, 0, 0, 1}, Port: 80}
	outbounds := map[string]struct {
		in   *pb.Outbound
		want string
	}{
		"an unknown kind":           {&pb.Outbound{Kind: 9}, "unknown kind 9"},
		"a negative kind":           {&pb.Outbound{Kind: -1}, "unknown kind -1"},
		"an unknown protocol":       {&pb.Outbound{Protocol: 4}, "unknown protocol 4"},
		"a service without a port":  {&pb.Outbound{Service: &pb.Service{Name: "web"}}, "port 0"},
		"an endpoint without an IP": {&pb.Outbound{Endpoints: []*pb.Endpoint{{}}}, "0 bytes"},
		"a port beyond 65535": {&pb.Outbound{
			Endpoints: []*pb.Endpoint{{Address: &pb.Address{Ip: ok.Ip, Port: 65536}}}}, "port 65536"},
		"an identity that is none": {&pb.Outbound{Endpoints: []*pb.Endpoint{{Address: ok, Identity: "web"}}},
			"not a workload identity"},
		"another spelling of one": {&pb.Outbound{Endpoints: []*pb.Endpoint{{Address: ok, Identity: "a.b/ns/c/sa/d"}}},
			"not a workload identity"},
		"an endpoint's bad protocol": {&pb.Outbound{Endpoints: []*pb.Endpoint{{Address: ok, Protocol: 99}}},
			"unknown protocol 99"},
	}
	for name, c := range outbounds {
		if got, err := DecodeOutbound(c.in, noPause); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v; want an error with %q", name, got, err, c.want)
		}
	}
	inbounds := map[string]struct {
		in   *pb.Inbound
		want string
	}{
		"a network of the wrong size": {&pb.Inbound{ClusterNetworks: []*pb.Prefix{{Ip: []byte{10}, Bits: 8}}}, "1 bytes"},
		"a network with too many bits": {&pb.Inbound{ClusterNetworks: []*pb.Prefix{{Ip: []byte{10, 0, 0, 0}, Bits: 33}}},
			"33 bits"},
		"an unknown protocol":            {&pb.Inbound{Default: &pb.PortPolicy{Protocol: 7}}, "unknown protocol 7"},
		"port 0":                         {&pb.Inbound{Ports: map[uint32]*pb.PortPolicy{0: {}}}, "port 0"},
		"a range upside down":            {&pb.Inbound{OpaquePorts: []*pb.PortRange{{First: 2, Last: 1}}}, "2-1"},
		"an authorization's bad network": {authorizing(&pb.Authorization{Networks: []*pb.Network{{}}}), "0 bytes"},
		"an exception that is none": {authorizing(&pb.Authorization{Networks: []*pb.Network{{
			Prefix: &pb.Prefix{Ip: []byte{10, 0, 0, 0}, Bits: 8}, Except: []*pb.Prefix{{Ip: []byte{10, 0, 0, 0}, Bits: 99}},
		}}}), "except of 10.0.0.0/8"},
		"a negative rate":     {limiting(&pb.RateLimit{Total: -1}), "-1 requests a second"},
		"a rate that is none": {limiting(&pb.RateLimit{Identity: math.NaN()}), "NaN requests a second"},
		"an override of nobody": {limiting(&pb.RateLimit{Overrides: []*pb.RateLimit_Override{{Identities: []string{""}}}}),
			"not a workload identity"},
		"an override without end": {limiting(&pb.RateLimit{Overrides: []*pb.RateLimit_Override{{PerSecond: math.Inf(1)}}}),
			"override 0"},
		"ranges that overlap": {&pb.Inbound{
			RequireIdentityPorts: []*pb.PortRange{{First: 1, Last: 5}, {First: 5, Last: 6}}}, "5-6"},
	}
	for name, c := range inbounds {
		if got, err := DecodeInbound(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v; want an error with %q", name, got, err, c.want)
		}
	}
}

func authorizing(a *pb.Authorization) *pb.Inbound {
	return &pb.Inbound{Default: &pb.PortPolicy{Authorizations: []*pb.Authorization{a}}}
}

func limiting(l *pb.RateLimit) *pb.Inbound { return &pb.Inbound{Default: &pb.PortPolicy{RateLimit: l}} }

func throughBytes(t *testing.T, in, out proto.Message) {
	t.Helper()
	data, err := proto.Marshal(in)
	if err == nil {
		err = proto.Unmarshal(data, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// generator draws values of package mesh.
type generator struct{ *rand.Rand }

func (g generator) name() string { return [...]string{"web", "api-0", "a.b", "shop"}[g.IntN(4)] }

func (g generator) port() uint16 { return uint16(1 + g.IntN(65535)) }

func (g generator) addr() netip.AddrPort {
	if g.IntN(2) == 0 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(g.Uint32()), byte(g.Uint32()), byte(g.Uint32())}),
			g.port())
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 14: byte(g.Uint32()), 15: byte(g.Uint32())}), g.port())
}

func (g generator) outbound() *mesh.Outbound {
	o := &mesh.Outbound{Kind: mesh.OutboundKind(g.IntN(4)), Protocol: mesh.Protocol(g.IntN(4))}
	if g.IntN(2) == 0 {
		o.Service = mesh.ServiceRef{Namespace: g.name(), Name: g.name(), Port: g.port()}
		o.Authority = g.name()
	}
	for range g.IntN(4) {
		e := mesh.Endpoint{
			Addr: g.addr(), Protocol: mesh.Protocol(g.IntN(4)), Weight: g.Uint32(), Zone: g.name(), Local: g.IntN(2) == 0,
		}
		if g.IntN(2) == 0 {
			e.Identity = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: g.name()}
			e.Pod = mesh.PodRef{
				Namespace: g.name(), Name: g.name(), ServiceAccount: g.name(), OwnerKind: "deployment", OwnerName: g.name(),
				PodTemplateHash: g.name(), ControlPlaneNS: g.name(),
			}
		}
		o.Endpoints = append(o.Endpoints, e)
	}
	g.traffic(o)
	return o
}

func (g generator) inbound() *mesh.Inbound {
	in := &mesh.Inbound{Default: g.portPolicy()}
	for range g.IntN(3) {
		in.ClusterNetworks = append(in.ClusterNetworks, g.prefix())
	}
	for range g.IntN(3) {
		if in.Ports == nil {
			in.Ports = map[uint16]mesh.PortPolicy{}
		}
		in.Ports[g.port()] = g.portPolicy()
	}
	in.OpaquePorts, in.RequireIdentityPorts, in.DeclaredPorts = g.portSet(), g.portSet(), g.portSet()
	for i := range g.IntN(3) {
		in.Revoked.Serials = append(in.Revoked.Serials, fmt.Sprintf("%x", 1+i))
		in.Revoked.Identities = append(in.Revoked.Identities, mesh.ID{TrustDomain: "cluster.local", Namespace: "n",
			ServiceAccount: fmt.Sprint("a", i)})
	}
	return in
}

func (g generator) portPolicy() mesh.PortPolicy {
	p := mesh.PortPolicy{
		Protocol: mesh.Protocol(g.IntN(4)), Policy: mesh.AccessPolicies[g.IntN(len(mesh.AccessPolicies))],
		RequireIdentity: g.IntN(2) == 0,
	}
	for range g.IntN(3) {
		p.ProbePaths = append(p.ProbePaths, "/"+g.name())
	}
	if g.IntN(2) == 0 {
		p.Server = g.ref()
	}
	for range g.IntN(3) {
		p.Authorizations = append(p.Authorizations, g.authorization())
	}
	if g.IntN(2) == 0 {
		p.RateLimit = g.rateLimit()
	}
	for range g.IntN(3) {
		r := mesh.InboundRoute{Authorizations: []mesh.Authorization{g.authorization()}}
		g.fill(reflect.ValueOf(&r.Route).Elem(), 0)
		p.Routes = append(p.Routes, r)
	}
	return p
}

func (g generator) ref() mesh.Ref {
	return mesh.Ref{Group: g.name(), Kind: g.name(), Namespace: g.name(), Name: g.name()}
}

func (g generator) prefix() netip.Prefix {
	addr := g.addr().Addr()
	return netip.PrefixFrom(addr, g.IntN(addr.BitLen()+1))
}

func (g generator) id() mesh.ID {
	return mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: g.name()}
}

func (g generator) authorization() mesh.Authorization {
	a := mesh.Authorization{Ref: g.ref(), Clients: mesh.ClientKind(g.IntN(3))}
	for range g.IntN(3) {
		n := mesh.Network{Net: g.prefix()}
		for range g.IntN(3) {
			n.Except = append(n.Except, g.prefix())
		}
		a.Networks = append(a.Networks, n)
	}
	for range g.IntN(3) {
		m := mesh.IdentityMatch(g.id())
		if g.IntN(2) == 0 {
			m.ServiceAccount = ""
		}
		a.Identities = append(a.Identities, m)
	}
	return a
}

func (g generator) rateLimit() *mesh.RateLimit {
	l := &mesh.RateLimit{Ref: g.ref(), Total: g.Float64() * 1000, Identity: g.Float64()}
	for range g.IntN(3) {
		o := mesh.RateOverride{PerSecond: g.Float64()}
		for range g.IntN(3) {
			o.Identities = append(o.Identities, g.id())
		}
		l.Overrides = append(l.Overrides, o)
	}
	return l
}

func (g generator) portSet() mesh.PortSet {
	var s mesh.PortSet
	for first := 1 + g.IntN(30000); first <= 65535; first += 1 + g.IntN(30000) {
		last := min(first+g.IntN(1000), 65535)
		s = append(s, mesh.PortRange{First: uint16(first), Last: uint16(last)})
		first = last + 1
	}
	return s
}

// BenchmarkAuthorizations is what a proxy gets of a Server with n AuthorizationPolicies that name one client each.
func BenchmarkAuthorizations(b *testing.B) {
	for _, n := range []int{200, 10_000} {
		in := &mesh.Inbound{}
		for i := range n {
			in.Default.Authorizations = append(in.Default.Authorizations, mesh.Authorization{
				Ref: mesh.Ref{Group: "policy.linkerd.io", Kind: "AuthorizationPolicy", Namespace: "shop",
					Name: fmt.Sprint("client-", i)},
				Identities: []mesh.IdentityMatch{{TrustDomain: "cluster.local", Namespace: "shop",
					ServiceAccount: fmt.Sprint("client-", i)}},
			})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			wire := EncodeInbound(in)
			for b.Loop() {
				if _, err := DecodeInbound(wire); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(proto.Size(wire)), "B/message")
		})
	}
}
