package controller

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// callers are the clients that each case of TestWhoMayCall is asked about. Several are named so that they look like
// another.
var callers = map[string]authz.Peer{
	"cart": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart"},
		Addr: netip.MustParseAddr("10.1.0.7")},
	"cart2": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "cart2"},
		Addr: netip.MustParseAddr("10.1.0.8")},
	"a.b": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "a.b"},
		Addr: netip.MustParseAddr("10.1.0.9")},
	"axb": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "axb"},
		Addr: netip.MustParseAddr("10.1.0.10")},
	"b of a.shop": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "a", ServiceAccount: "b"},
		Addr: netip.MustParseAddr("10.1.0.11")},
	"shop-evil": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop-evil", ServiceAccount: "cart"},
		Addr: netip.MustParseAddr("10.1.0.12")},
	"other domain": {ID: mesh.ID{TrustDomain: "cluster.local.evil", Namespace: "shop", ServiceAccount: "cart"},
		Addr: netip.MustParseAddr("10.1.0.13")},
	"ops": {ID: mesh.ID{TrustDomain: "cluster.local", Namespace: "ops", ServiceAccount: "scan"},
		Addr: netip.MustParseAddr("10.2.0.1")},
	"plain":   {Addr: netip.MustParseAddr("10.1.0.14")},
	"mapped":  {Addr: netip.MustParseAddr("::ffff:10.1.0.15")},
	"outside": {Addr: netip.MustParseAddr("192.0.2.1")},
}

const (
	everybody = "a.b axb b of a.shop cart cart2 mapped ops other domain outside plain shop-evil"
	proven    = "a.b axb b of a.shop cart cart2 ops other domain shop-evil"

	serverManifest = "kind: Server\nmetadata: {name: web}\nspec: {podSelector: {matchLabels: {app: web}}, port: http}\n"
	onServer       = "targetRef: {group: policy.linkerd.io, kind: Server, name: web}"
)

// policyOn is an AuthorizationPolicy on the Server that requires what the text lists.
func policyOn(refs string) string {
	return "---\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {" + onServer + ", requiredAuthenticationRefs: [" +
		refs + "]}\n"
}

const (
	requireIdentities = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: m}"
	requireNetworks   = "{group: policy.linkerd.io, kind: NetworkAuthentication, name: n}"
)

func identities(list string) string {
	return "---\nkind: MeshTLSAuthentication\nmetadata: {name: m}\nspec: {identities: [" + list + "]}\n"
}

func networks(list string) string {
	return "---\nkind: NetworkAuthentication\nmetadata: {name: n}\nspec: {networks: [" + list + "]}\n"
}

func serverAuthorization(client string) string {
	return "---\nkind: ServerAuthorization\nmetadata: {name: z}\nspec: {server: {name: web}, client: " + client + "}\n"
}

// TestWhoMayCall takes manifests all the way to a proxy's decision: applied, derived, reported over the API's codec,
// and decided on.
func TestWhoMayCall(t *testing.T) {
	const suffix = ".serviceaccount.identity.linkerd.cluster.local"
	for name, c := range map[string]struct {
		manifests string
		path      string // of a GET; "" for a connection that is not HTTP
		want      string // who comes in
	}{
		"no Server, so the default holds": {"", "", everybody},
		"a Server that nothing opens":     {serverManifest, "", ""},
		"a Server of other pods": {strings.ReplaceAll(serverManifest, "app: web", "app: api"), "",
			everybody},
		"a Server of other ports": {strings.ReplaceAll(serverManifest, "http", "9090"), "", everybody},
		"a Server that lets everybody in": {strings.ReplaceAll(serverManifest, "port: http",
			"port: 8080, accessPolicy: all-unauthenticated"), "", everybody},
		"a Server that lets the proven in": {strings.ReplaceAll(serverManifest, "port: http",
			"port: http, accessPolicy: all-authenticated"), "", proven},
		"a Server that lets its cluster in": {strings.ReplaceAll(serverManifest, "port: http",
			"port: http, accessPolicy: cluster-unauthenticated"), "",
			"a.b axb b of a.shop cart cart2 mapped ops other domain plain shop-evil"},
		"a Server that audits": {strings.ReplaceAll(serverManifest, "port: http",
			"port: http, accessPolicy: audit"), "", everybody},
		"a policy that requires nothing": {serverManifest + policyOn(""), "", everybody},
		"a ServiceAccount": {serverManifest + policyOn("{kind: ServiceAccount, name: cart}"), "",
			"cart"},
		"a ServiceAccount of another namespace": {serverManifest +
			policyOn("{kind: ServiceAccount, name: scan, namespace: ops}"), "", "ops"},
		"a ServiceAccount, group core": {serverManifest +
			policyOn("{group: core, kind: ServiceAccount, name: cart}"), "", "cart"},
		"Linkerd's spelling": {serverManifest + policyOn(requireIdentities) +
			identities("cart.shop"+suffix), "", "cart"},
		"Istio's spelling": {serverManifest + policyOn(requireIdentities) +
			identities("cluster.local/ns/shop/sa/cart"), "", "cart"},
		"SPIFFE's spelling": {serverManifest + policyOn(requireIdentities) +
			identities(`"spiffe://cluster.local/ns/shop/sa/cart"`), "", "cart"},
		"a name with a dot": {serverManifest + policyOn(requireIdentities) +
			identities("a.b.shop"+suffix), "", "a.b"},
		"a name that ends like one with a dot": {serverManifest + policyOn(requireIdentities) + identities("b.a"+suffix),
			"", "b of a.shop"},
		"a namespace": {serverManifest + policyOn(requireIdentities) +
			identities(`"*.shop`+suffix+`"`), "", "a.b axb cart cart2"},
		"a trust domain": {serverManifest + policyOn(requireIdentities) +
			identities(`"*`+suffix+`"`), "", "a.b axb b of a.shop cart cart2 ops shop-evil"},
		"everybody who is proven": {serverManifest + policyOn(requireIdentities) + identities(`"*"`), "",
			proven},
		"less than a whole name": {serverManifest + policyOn(requireIdentities) +
			identities(`"cart*.shop`+suffix+`"`), "", ""},
		"identityRefs": {serverManifest + policyOn(requireIdentities) +
			"---\nkind: MeshTLSAuthentication\nmetadata: {name: m}\nspec: {identityRefs: [{kind: ServiceAccount, name: " +
			"cart2}, {kind: Namespace, name: ops}]}\n", "", "cart2 ops"},
		"an authentication that is not there": {serverManifest + policyOn(requireIdentities), "", ""},
		"networks": {serverManifest + policyOn(requireNetworks) +
			networks("{cidr: 10.1.0.0/16}"), "", "a.b axb b of a.shop cart cart2 mapped other domain plain shop-evil"},
		"networks with exceptions": {serverManifest + policyOn(requireNetworks) +
			networks(`{cidr: 10.1.0.0/16, except: [10.1.0.8/29, 10.1.0.7]}, {cidr: 192.0.2.1}`), "", "outside"},
		"a network in IPv6 form": {serverManifest + policyOn(requireNetworks) +
			networks(`{cidr: "::ffff:10.2.0.0/112"}`), "", "ops"},
		"identities and networks": {serverManifest + policyOn(requireIdentities+", "+requireNetworks) +
			identities(`"*.shop`+suffix+`"`) + networks("{cidr: 10.1.0.8/31}"), "", "a.b cart2"},
		"identities without the networks": {serverManifest + policyOn(requireIdentities+", "+requireNetworks) +
			identities(`"*"`), "", ""},
		"two policies": {serverManifest + policyOn("{kind: ServiceAccount, name: cart}") +
			strings.ReplaceAll(policyOn("{kind: ServiceAccount, name: cart2}"), "name: p}", "name: q}"), "", "cart cart2"},
		"a policy on the namespace": {serverManifest +
			strings.ReplaceAll(policyOn("{kind: ServiceAccount, name: cart}"), onServer,
				"targetRef: {kind: Namespace, name: shop}"), "", "cart"},
		"a policy on another namespace": {serverManifest +
			strings.ReplaceAll(policyOn(""), onServer, "targetRef: {kind: Namespace, name: bank}"), "", ""},
		"a policy of another namespace": {serverManifest +
			strings.ReplaceAll(policyOn(""), "name: p}", "name: p, namespace: bank}"), "", ""},
		"plaintext by a ServerAuthorization": {serverManifest + serverAuthorization("{unauthenticated: true}"), "",
			everybody},
		"plaintext from a network": {serverManifest +
			serverAuthorization("{unauthenticated: true, networks: [{cidr: 192.0.2.0/24}]}"), "", "outside"},
		"any identity by a ServerAuthorization": {serverManifest +
			serverAuthorization("{meshTLS: {unauthenticatedTLS: true}}"), "", proven},
		"accounts by a ServerAuthorization": {serverManifest +
			serverAuthorization("{meshTLS: {serviceAccounts: [{name: cart}, {name: scan, namespace: ops}]}}"), "", "cart ops"},
		"a ServerAuthorization that asks for both": {serverManifest +
			serverAuthorization("{unauthenticated: true, meshTLS: {unauthenticatedTLS: true}}"), "", ""},
		"bytes that are no requests past a route": {serverManifest + policyOn("") + routeManifest, "", ""},
		"a route that nothing opens":              {serverManifest + routeManifest, "/items/1", ""},
		"a route with a policy of its own":        {serverManifest + routeManifest + routePolicy, "/items/1", "cart"},
		"what no route matches": {serverManifest + routeManifest + routePolicy + policyOn(""), "/admin",
			""},
		"a route, and the Server's policy": {serverManifest + routeManifest + routePolicy +
			policyOn("{kind: ServiceAccount, name: cart2}"), "/items/1", "cart cart2"},
		"a policy on the other group's route": {serverManifest + routeManifest +
			strings.ReplaceAll(routePolicy, "policy.linkerd.io", "gateway.networking.k8s.io"), "/items/1", ""},
		"an opaque Server with a route and policy": {strings.ReplaceAll(serverManifest, "port: http",
			"port: http, proxyProtocol: opaque") + routeManifest + routePolicy + policyOn(""), "", ""},
		"an opaque Server with a policy": {strings.ReplaceAll(serverManifest, "port: http",
			"port: http, proxyProtocol: opaque") + policyOn("{kind: ServiceAccount, name: cart}"), "", "cart"},
		"a Server of the name in another namespace": {strings.ReplaceAll(serverManifest, "name: web}",
			"name: web, namespace: bank}"), "", everybody},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(admitted(t, c.manifests, c.path), " "); got != c.want {
				t.Errorf("comes in: %q, want %q", got, c.want)
			}
		})
	}
}

const (
	routeManifest = "---\nkind: HTTPRoute\nmetadata: {name: items}\nspec: {parentRefs: [{name: web}], rules: " +
		"[{matches: [{path: {value: /items}}]}]}\n"
	routePolicy = "---\nkind: AuthorizationPolicy\nmetadata: {name: r}\nspec: {targetRef: {group: " +
		"policy.linkerd.io, kind: HTTPRoute, name: items}, requiredAuthenticationRefs: [{kind: ServiceAccount, name: " +
		"cart}]}\n"
)

// admitted returns who of callers comes in to port 8080 of the pod, sorted.
func admitted(t *testing.T, manifests, path string) []string {
	t.Helper()
	f := start(t)
	f.apply(guardedPod())
	for doc := range strings.SplitSeq(manifests, "---\n") {
		if doc != "" {
			f.apply(policyObject(t, doc))
		}
	}
	f.sync()
	cell, stop := f.watch(mesh.Client{Namespace: "shop", Pod: "web-1"}, "")
	defer stop()
	value, _ := f.wait(cell, 0)
	return whoComesIn(t, value.Inbound, path)
}

func guardedPod() *corev1.Pod {
	p := pod("web-1", "node-0", nil)
	p.Labels = map[string]string{"app": "web"}
	p.Spec.Containers = []corev1.Container{{Name: "app",
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}
	return p
}

func whoComesIn(t *testing.T, reported *mesh.Inbound, path string) []string {
	t.Helper()
	in, err := api.DecodeInbound(api.EncodeInbound(reported))
	if err != nil {
		t.Fatalf("a proxy refuses the value: %v", err)
	}
	in.ClusterNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	port := authz.Compile(in, nil).Port(8080)
	var out []string
	for name, peer := range callers {
		decision := port.Decide(peer)
		if path != "" {
			var h message.Head
			h.SetPart(message.Method, "GET")
			h.SetPart(message.Path, path)
			part, _ := port.Match(peer, &h)
			decision = port.DecidePart(peer, part)
		}
		if decision.Allow {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func policyObject(t *testing.T, doc string) metav1.Object {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
		t.Fatal(err)
	}
	o := map[string]metav1.Object{
		"Server": &v1alpha1.Server{}, "AuthorizationPolicy": &v1alpha1.AuthorizationPolicy{},
		"ServerAuthorization":   &v1alpha1.ServerAuthorization{},
		"MeshTLSAuthentication": &v1alpha1.MeshTLSAuthentication{},
		"NetworkAuthentication": &v1alpha1.NetworkAuthentication{},
		"HTTPRoute":             &v1alpha1.HTTPRoute{}, "GRPCRoute": &gatewayv1.GRPCRoute{},
	}[kind.Kind]
	if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	if o.GetNamespace() == "" {
		o.SetNamespace("shop")
	}
	return o
}

// TestPolicyFlipReachesItsPodsAlone turns a policy and shows that it is reported to the pods that it concerns, and to
// no others.
func TestPolicyFlipReachesItsPodsAlone(t *testing.T) {
	f := start(t)
	f.apply(guardedPod(), pod("other", "node-0", nil), policyObject(t, serverManifest),
		policyObject(t, strings.TrimPrefix(policyOn(""), "---\n")))
	f.sync()
	web, stopWeb := f.watch(mesh.Client{Namespace: "shop", Pod: "web-1"}, "")
	defer stopWeb()
	other, stopOther := f.watch(mesh.Client{Namespace: "shop", Pod: "other"}, "")
	defer stopOther()
	value, seen := f.wait(web, 0)
	_, seenOther := f.wait(other, 0)
	if got := whoComesIn(t, value.Inbound, ""); strings.Join(got, " ") != everybody {
		t.Fatalf("comes in: %q, want everybody", got)
	}
	f.events <- model.Event{Object: policyObject(t, strings.TrimPrefix(policyOn(""), "---\n")), Deleted: true}
	value, _ = f.wait(web, seen)
	if got := whoComesIn(t, value.Inbound, ""); len(got) != 0 {
		t.Errorf("comes in after the policy has gone: %q, want nobody", got)
	}
	f.waitForLoop()
	if _, now := other.Load(); now != seenOther {
		t.Errorf("the other pod was reported %d times, want %d", now, seenOther)
	}
}
