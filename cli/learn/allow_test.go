package learn

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestAllow applies the objects, and asks what-if about the client that is to be allowed and about another one.
func TestAllow(t *testing.T) {
	cart := Workload{"shop", "deployment", "cart"}
	closed := server("cart", "app: cart", 8080, mesh.Deny)
	taken := policyRef("AuthorizationPolicy", "shop", "cart-from-web")
	for name, c := range map[string]struct {
		live  string
		p     Permission
		route mesh.Ref
		want  string
	}{
		"at a Server": {live: closed, p: Permission{Target: policyRef("Server", "shop", "cart")},
			want: "AuthorizationPolicy/cart-from-web"},
		"under another name if there is an object of it": {live: closed, want: "AuthorizationPolicy/cart-from-web-2",
			p: Permission{Target: policyRef("Server", "shop", "cart"), Taken: map[mesh.Ref]bool{taken: true}}},
		"at a route": {live: closed + httpRoute("admin", "cart"), route: drawnRoute("admin"), p: Permission{
			Target: mesh.Ref{Group: drawnRoute("admin").Group, Kind: "HTTPRoute", Namespace: "shop", Name: "admin"}},
			want: "AuthorizationPolicy/admin-from-web"},
		"at a port without a Server": {p: Permission{Workload: cart, Port: 8080},
			want: "AuthorizationPolicy/cart-8080-from-web"},
	} {
		t.Run(name, func(t *testing.T) {
			live := events(t, c.live, namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"))
			before := NewWorld(config(mesh.Deny), live)
			c.p.Client = id("shop", "web")
			after, notes, err := before.Apply(live, Manifests{"default", now, accepted(t, written(t, Allow(c.p)))})
			if err != nil || len(notes) > 0 {
				t.Fatal(err, notes)
			}
			denied := func(client mesh.ID) Observation {
				return Observation{Workload: cart, Port: 8080, Route: c.route, Client: client, Count: 1}
			}
			evaluated := WhatIf(before, after,
				Traffic{Seen: []Observation{denied(id("shop", "web")), denied(id("shop", "pay"))}}, 1)
			var got []string
			for _, change := range evaluated.Changes {
				got = append(got, string(change.Effect)+" "+change.Client+" "+change.Reason)
			}
			if diff := cmp.Diff([]string{"allowed " + id("shop", "web").String() + " " + c.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
