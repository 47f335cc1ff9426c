package learn

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

const onlyWeb = `---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: web-only, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: cart}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web, namespace: shop}]
`

// networkPolicy allows networks at Server cart.
func networkPolicy(networks string) string {
	return `---
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata: {name: nets, namespace: shop}
spec: {networks: [` + networks + `]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: nets, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: cart}
  requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: NetworkAuthentication, name: nets}]
`
}

func routePolicy(route, account string) string {
	return `---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: ` + route + `, namespace: shop}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: ` + route + `}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: ` + account + `}]
`
}

func TestWhatIf(t *testing.T) {
	cart, nobody := Workload{"shop", "deployment", "cart"}, mesh.ID{}
	closed := server("cart", "app: cart", 8080, mesh.Deny)
	seen := func(client mesh.ID) Observation {
		return Observation{Workload: cart, Port: 8080, Client: client, Allowed: true, Count: 120}
	}
	at := func(route string, o Observation) Observation {
		o.Route = drawnRoute(route)
		return o
	}
	refused := func(o Observation) Observation { o.Allowed = false; return o }
	opaque := func(o Observation) Observation { o.Opaque = true; return o }
	web, pay := id("shop", "web"), id("shop", "pay")
	const unsure = "depends on the client's address, or on the route that its requests match"
	for name, c := range map[string]struct {
		live, file string
		seen       Observation
		want       string // effect and reason; "" for no change
	}{
		"a Server closes a port":               {"", closed, seen(web), "denied denied"},
		"a Server closes another port":         {"", server("cart", "app: cart", 9090, mesh.Deny), seen(web), ""},
		"a Server closes another workload":     {"", server("pay", "app: pay", 8080, mesh.Deny), seen(web), ""},
		"a policy names another client":        {"", closed + onlyWeb, seen(pay), "denied not_authorized"},
		"a policy names the client":            {"", closed + onlyWeb, seen(web), ""},
		"a client without identity is cut off": {"", closed + onlyWeb, seen(nobody), "denied no_identity"},
		"identity becomes required": {"", server("cart", "app: cart", 8080, mesh.AllAuthenticated),
			seen(nobody), "denied no_identity"},
		"audit allows and logs": {"", server("cart", "app: cart", 8080, mesh.Audit), seen(nobody),
			""},
		"a policy lets in who was denied": {closed, onlyWeb, refused(seen(web)),
			"allowed AuthorizationPolicy/web-only"},
		"an access policy lets in who was denied": {closed, server("cart", "app: cart", 8080, mesh.Audit),
			refused(seen(web)), "allowed accessPolicy audit"},
		"who was denied stays denied":               {closed, onlyWeb, refused(seen(pay)), ""},
		"what was seen to be denied is not cut off": {"", closed, refused(seen(web)), ""},
		"a younger Server for the same port has no effect": {server("older", "app: cart", 8080, mesh.Audit), closed,
			seen(web), ""},
		"a Server that is applied again keeps its age": {server("a", "app: cart", 8080, mesh.Audit) +
			server("b", "app: cart", 8080, mesh.Audit), server("a", "app: cart", 8080, mesh.Deny), seen(web), "denied denied"},
		"connections are denied where only HTTP is spoken": {"", strings.Replace(
			server("cart", "app: cart", 8080, mesh.AllUnauthenticated), "port:", "proxyProtocol: HTTP/1, port:", 1),
			opaque(seen(web)), "denied not_http"},
		"requests are let in where only HTTP is spoken": {"", strings.Replace(
			server("cart", "app: cart", 8080, mesh.AllUnauthenticated), "port:", "proxyProtocol: HTTP/1, port:", 1), seen(web),
			""},
		"a namespace requires identity": {"", "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: " +
			"{config.linkerd.io/default-inbound-policy: all-authenticated}}\n", seen(nobody), "denied no_identity"},
		"a network that the client's pods are in": {closed, networkPolicy("{cidr: 10.0.7.0/24}"), refused(seen(web)),
			"allowed AuthorizationPolicy/nets"},
		"a network that the client's pods are not in": {closed, networkPolicy("{cidr: 10.9.0.0/16}"), refused(seen(web)), ""},
		"a network that an unknown client may be in": {closed, networkPolicy("{cidr: 10.9.0.0/16}"), refused(seen(nobody)),
			"may-be-allowed " + unsure},
		"a network becomes smaller": {closed + networkPolicy("{cidr: 10.0.0.0/8}"), networkPolicy("{cidr: 10.9.0.0/16}"),
			seen(nobody), "may-be-denied " + unsure},
		"an exception within a network": {closed + networkPolicy("{cidr: 10.0.0.0/8}"),
			networkPolicy("{cidr: 10.0.0.0/8, except: [10.9.0.0/16]}"), seen(nobody), "may-be-denied " + unsure},
		"a network becomes another": {closed + networkPolicy("{cidr: 10.0.0.0/8}"), networkPolicy("{cidr: 11.0.0.0/8}"),
			seen(nobody), "denied outside_networks"},
		"a network becomes larger": {closed + networkPolicy("{cidr: 10.9.0.0/16}"), networkPolicy("{cidr: 10.0.0.0/8}"),
			seen(nobody), ""},
		"a policy on the route": {closed + httpRoute("admin", "cart") + onlyWeb, routePolicy("admin", "pay"),
			refused(at("admin", seen(pay))), "allowed AuthorizationPolicy/admin"},
		"a policy on another route": {closed + httpRoute("admin", "cart") + httpRoute("open", "cart") + onlyWeb,
			routePolicy("admin", "pay"), refused(at("open", seen(pay))), ""},
		"a route where there was none": {closed + onlyWeb, httpRoute("admin", "cart"), seen(web), "may-be-denied " + unsure},
		"a route that nobody may use where there was none": {server("cart", "app: cart", 8080, mesh.Audit),
			closed + httpRoute("admin", "cart"), seen(web), "denied no_route"},
		"no route lets in a caller whose route is not known": {closed + httpRoute("admin", "cart") +
			httpRoute("open", "cart") + routePolicy("admin", "pay"), routePolicy("admin", "web"), seen(pay),
			"denied no_route"},
		"requests from before the routes, which stay": {closed + onlyWeb + httpRoute("admin", "cart"),
			routePolicy("admin", "pay"), seen(web), ""},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []metav1.Object{namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"),
				pod("shop", "cart", "cart-2", "10.0.0.2"), pod("shop", "pay", "pay-1", "10.0.5.1"),
				pod("shop", "web", "web-1", "10.0.7.1")}
			live := events(t, c.live, objects...)
			before := NewWorld(config(mesh.AllUnauthenticated), live)
			after, _, err := before.Apply(live, Manifests{"shop", now, parse(t, c.file)})
			if err != nil {
				t.Fatal(err)
			}
			evaluated := WhatIf(before, after, Traffic{Seen: []Observation{c.seen}}, 60)
			got := ""
			for _, change := range evaluated.Changes {
				got += string(change.Effect) + " " + change.Reason
				if change.Rate != 2 || change.Count != 120 {
					t.Errorf("%v requests, %v a second; want 120 and 2", change.Count, change.Rate)
				}
			}
			if got != c.want || evaluated.Callers != 1 {
				t.Errorf("got %q, want %q; evaluated %d", got, c.want, evaluated.Callers)
			}
		})
	}
}

// TestWhatIfEarlier cuts off a client that the window does not count, and says so.
func TestWhatIfEarlier(t *testing.T) {
	live := events(t, "", namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"))
	before := NewWorld(config(mesh.AllUnauthenticated), live)
	after, _, err := before.Apply(live, Manifests{"shop", now, parse(t, server("cart", "app: cart", 8080, mesh.Deny))})
	if err != nil {
		t.Fatal(err)
	}
	nightly := Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 8080, Client: id("bank", "nightly"),
		Allowed: true}
	got := WhatIf(before, after, Traffic{Earlier: []Observation{nightly}}, 60)
	want := Evaluation{Callers: 1, Changes: []Change{{Effect: Denied, Namespace: "shop", Workload: "deploy/cart",
		Port: 8080, Client: nightly.Client.String(), Reason: "denied", Earlier: true}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var table strings.Builder
	if err := WriteTable(&table, got.Changes); err != nil || !strings.Contains(table.String(), "  earlier  ") {
		t.Errorf("%v, table:\n%s", err, table.String())
	}
}

// TestWhatIfPartial says when callers may be missing.
func TestWhatIfPartial(t *testing.T) {
	live := events(t, "", namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"))
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	cart := Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 8080, Allowed: true, Count: 1}
	gone := cart
	gone.Workload.Name = "gone"
	for name, c := range map[string]struct {
		traffic Traffic
		want    bool
	}{
		"all is known":                {Traffic{Seen: []Observation{cart}}, false},
		"metrics had no room":         {Traffic{Notes: []string{"Left out."}}, true},
		"a proxy did not answer":      {Traffic{Partial: true}, true},
		"no pod of the workload runs": {Traffic{Seen: []Observation{gone}}, true},
	} {
		if got := WhatIf(w, w, c.traffic, 60).Partial; got != c.want {
			t.Errorf("%s: partial %v, want %v", name, got, c.want)
		}
	}
}

// TestApplySaysWhatIsLeftOut applies objects that have no effect, are not accepted, or make no sense.
func TestApplySaysWhatIsLeftOut(t *testing.T) {
	live := events(t, "", namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"))
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	for name, c := range map[string]struct {
		file, note, err string
	}{
		"a Deployment": {"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart}\n",
			`"deployment/cart" is left out: only policies, routes and namespaces are evaluated`, ""},
		"a policy without its target": {onlyWeb,
			`AuthorizationPolicy web-only: there is no Server "cart" in namespace "shop"`, ""},
		"an unknown field": {"---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: cart}\n" +
			"spec: {podSelector: {}, port: 80, acessPolicy: audit}\n", "", `unknown field "spec.acessPolicy"`},
		"a wrong type": {"---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: cart}\n" +
			"spec: {podSelector: 7, port: 80}\n", "", "document 1"},
		"no name": {"---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {}\nspec: {}\n", "",
			"metadata.name: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, notes, err := w.Apply(live, Manifests{"shop", now, parse(t, c.file)})
			if text := strings.Join(notes, "\n"); !strings.Contains(text, c.note) || c.note == "" && text != "" {
				t.Errorf("notes %q, want %q", text, c.note)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

// TestAffected names the namespaces where a change has an effect on a pod that runs.
func TestAffected(t *testing.T) {
	live := events(t, "", namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"),
		pod("bank", "cart", "cart-2", "10.0.0.2"))
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"a Server of a workload": {server("cart", "app: cart", 8080, mesh.Deny), []string{"shop"}},
		"a Server of no pod":     {server("cart", "app: gone", 8080, mesh.Deny), nil},
		"a policy of no Server":  {onlyWeb, nil},
	} {
		after, _, err := w.Apply(live, Manifests{"shop", now, parse(t, c.file)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, Affected(w, after)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
