package authz

import (
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

var saz = mesh.Ref{Group: "policy.linkerd.io", Kind: "ServerAuthorization", Namespace: "shop", Name: "saz"}

func id(namespace, account string) mesh.ID {
	return mesh.ID{TrustDomain: "cluster.local", Namespace: namespace, ServiceAccount: account}
}

func named(ids ...mesh.ID) mesh.Authorization {
	a := mesh.Authorization{Ref: saz}
	for _, i := range ids {
		a.Identities = append(a.Identities, mesh.IdentityMatch(i))
	}
	return a
}

func within(a mesh.Authorization, network string, except ...string) mesh.Authorization {
	n := mesh.Network{Net: netip.MustParsePrefix(network)}
	for _, e := range except {
		n.Except = append(n.Except, netip.MustParsePrefix(e))
	}
	a.Networks = append(a.Networks, n)
	return a
}

func TestAuthorizations(t *testing.T) {
	anyone := mesh.Authorization{Ref: saz, Clients: mesh.AnyClients}
	meshed := mesh.Authorization{Ref: saz, Clients: mesh.AuthenticatedClients}
	allowed := Decision{Allow: true, Authorization: saz}
	from := func(i mesh.ID, addr string) Peer { return Peer{ID: i, Addr: netip.MustParseAddr(addr)} }
	list := func(a ...mesh.Authorization) []mesh.Authorization { return a }
	for name, tc := range map[string]struct {
		authorizations []mesh.Authorization
		peer           Peer
		want           Decision
	}{
		"nobody is authorized": {nil, Peer{ID: web}, Decision{Reason: Denied}},
		"a named client":       {list(named(web)), Peer{ID: web}, allowed},
		"another account": {list(named(web)), Peer{ID: id("shop", "web2")},
			Decision{Reason: NotAuthorized}},
		"an account that begins alike": {list(named(id("shop", "web2"))), Peer{ID: web},
			Decision{Reason: NotAuthorized}},
		"the same account elsewhere": {list(named(web)), Peer{ID: id("shop-evil", "web")},
			Decision{Reason: NotAuthorized}},
		"a dot is a dot": {list(named(id("shop", "a.b"))), Peer{ID: id("shop", "axb")},
			Decision{Reason: NotAuthorized}},
		"another trust domain": {list(named(web)),
			Peer{ID: mesh.ID{TrustDomain: "evil.local", Namespace: "shop", ServiceAccount: "web"}},
			Decision{Reason: NotAuthorized}},
		"a whole namespace": {list(named(id("shop", ""))), Peer{ID: web}, allowed},
		"a whole namespace is not its namesake": {list(named(id("shop", ""))), Peer{ID: id("shop-evil", "web")},
			Decision{Reason: NotAuthorized}},
		"every identity":                          {list(named(mesh.ID{})), Peer{ID: web}, allowed},
		"every identity is not everybody":         {list(named(mesh.ID{})), Peer{Addr: inside}, Decision{Reason: NoIdentity}},
		"no identities are nobody":                {list(named()), Peer{ID: web}, Decision{Reason: NotAuthorized}},
		"any authenticated client":                {list(meshed), Peer{ID: web}, allowed},
		"any authenticated client, and plaintext": {list(meshed), Peer{Addr: inside}, Decision{Reason: NoIdentity}},
		"any client":                              {list(anyone), Peer{Addr: public}, allowed},
		"a kind of a later release": {list(mesh.Authorization{Ref: saz, Clients: 7}), Peer{ID: web},
			Decision{Reason: NotAuthorized}},
		"one of several suffices": {list(named(id("a", "b")), named(web)), Peer{ID: web}, allowed},
		"within the network": {list(within(anyone, "10.0.0.0/8")), from(mesh.ID{}, "10.1.2.3"),
			allowed},
		"outside of the network": {list(within(anyone, "10.0.0.0/8")), from(mesh.ID{}, "11.1.2.3"),
			Decision{Reason: OutsideNetworks}},
		"in an exception": {list(within(anyone, "10.0.0.0/8", "10.1.0.0/16")),
			from(mesh.ID{}, "10.1.2.3"), Decision{Reason: OutsideNetworks}},
		"beside an exception": {list(within(anyone, "10.0.0.0/8", "10.1.0.0/16")),
			from(mesh.ID{}, "10.2.2.3"), allowed},
		"an exception of one network, in another": {list(within(within(anyone, "10.0.0.0/8", "10.1.0.0/16"), "10.1.2.0/24")),
			from(mesh.ID{}, "10.1.2.3"), allowed},
		"identity and network: both": {list(within(named(web), "10.0.0.0/8")), from(web, "10.1.2.3"), allowed},
		"identity and network: the identity alone": {list(within(named(web), "10.0.0.0/8")), from(web, "11.1.2.3"),
			Decision{Reason: OutsideNetworks}},
		"identity and network: the network alone": {list(within(named(web), "10.0.0.0/8")), from(mesh.ID{}, "10.1.2.3"),
			Decision{Reason: NoIdentity}},
		"identity here and network there": {
			list(within(named(web), "11.0.0.0/8"), within(named(id("a", "b")), "10.0.0.0/8")), from(web, "10.1.2.3"),
			Decision{Reason: OutsideNetworks}},
		"an IPv4-mapped client": {list(within(anyone, "10.0.0.0/8")), from(mesh.ID{}, "::ffff:10.1.2.3"),
			allowed},
		"an IPv4-mapped client in an exception": {list(within(anyone, "10.0.0.0/8", "10.1.0.0/16")),
			from(mesh.ID{}, "::ffff:10.1.2.3"), Decision{Reason: OutsideNetworks}},
		"an IPv4-mapped network": {list(within(anyone, "::ffff:10.0.0.0/104")), from(mesh.ID{}, "10.1.2.3"),
			allowed},
		"an IPv4-mapped exception": {list(within(anyone, "10.0.0.0/8", "::ffff:10.1.0.0/112")),
			from(mesh.ID{}, "10.1.2.3"), Decision{Reason: OutsideNetworks}},
		"a network with host bits": {list(within(anyone, "10.1.2.3/8")), from(mesh.ID{}, "10.9.9.9"),
			allowed},
		"all of IPv4 is not IPv6": {list(within(anyone, "0.0.0.0/0")), from(mesh.ID{}, "fd00::1"),
			Decision{Reason: OutsideNetworks}},
		"all of IPv6 is not IPv4": {list(within(anyone, "::/0")), from(mesh.ID{}, "10.1.2.3"),
			Decision{Reason: OutsideNetworks}},
		"a link-local client is compared zoneless": {list(within(anyone, "fe80::/10")), from(mesh.ID{}, "fe80::1%eth0"),
			allowed},
		"a zone does not evade an exception": {list(within(anyone, "::/0", "fe80::/10")),
			from(mesh.ID{}, "fe80::1%eth0"), Decision{Reason: OutsideNetworks}},
		"IPv6 loopback is not IPv4's": {list(within(anyone, "127.0.0.0/8")), from(mesh.ID{}, "::1"),
			Decision{Reason: OutsideNetworks}},
		"an IPv4-compatible address is not IPv4": {list(within(anyone, "10.0.0.0/8")), from(mesh.ID{}, "::10.1.2.3"),
			Decision{Reason: OutsideNetworks}},
		"an address that is none is in no network": {list(within(anyone, "0.0.0.0/0")), Peer{},
			Decision{Reason: OutsideNetworks}},
	} {
		if got := compile(mesh.PortPolicy{Policy: mesh.Deny, Authorizations: tc.authorizations}).Decide(
			tc.peer); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestAccessPolicyTakesWhomNoAuthorizationDoes(t *testing.T) {
	port := compile(mesh.PortPolicy{Policy: mesh.ClusterUnauthenticated, Authorizations: []mesh.Authorization{named(web)}})
	for name, tc := range map[string]struct {
		peer Peer
		want Decision
	}{
		"by authorization":   {Peer{ID: web, Addr: public}, Decision{Allow: true, Authorization: saz}},
		"by access policy":   {Peer{Addr: inside}, Decision{Allow: true, Authorization: own("cluster-unauthenticated")}},
		"by neither of them": {Peer{Addr: public}, Decision{Reason: OutsideCluster}},
	} {
		if got := port.Decide(tc.peer); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestRequiredIdentityOutweighsAuthorizations(t *testing.T) {
	port := compile(mesh.PortPolicy{
		Policy: mesh.AllUnauthenticated, RequireIdentity: true,
		Authorizations: []mesh.Authorization{{Clients: mesh.AnyClients}},
	})
	if got := port.Decide(Peer{Addr: inside}); got.Allow || got.Reason != NoIdentity {
		t.Errorf("got %+v", got)
	}
}

func TestPortNamesItsServer(t *testing.T) {
	server := mesh.Ref{Group: "policy.linkerd.io", Kind: "Server", Namespace: "shop", Name: "cart"}
	with, without := compile(mesh.PortPolicy{Policy: mesh.Deny, Server: server}),
		compile(mesh.PortPolicy{Policy: mesh.Deny})
	if with.Server() != server || !with.HasServer() || without.Server() != own("deny") || without.HasServer() {
		t.Errorf("got %v and %v", with.Server(), without.Server())
	}
}
