package learn

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// drawn is a cluster with traffic, drawn at random.
type drawn struct {
	*rand.Rand
	text    string
	objects []metav1.Object
	pods    []*corev1.Pod
	routes  map[string][]string // of Servers
}

var (
	drawnWorkloads = []string{"cart", "pay", "web"}
	drawnRoles     = []string{"primary", "replica"} // of the pods of one workload
)

func drawCluster(seed uint64) *drawn {
	d := &drawn{Rand: rand.New(rand.NewPCG(seed, 11)), routes: map[string][]string{}}
	d.objects = append(d.objects, namespace("shop"), namespace("bank"))
	for i, workload := range drawnWorkloads {
		for j := range 1 + d.IntN(2) {
			p := pod("shop", workload, fmt.Sprintf("%s-%d", workload, j), fmt.Sprintf("10.0.%d.%d", i, j))
			p.Labels["role"] = drawnRoles[j]
			d.pods, d.objects = append(d.pods, p), append(d.objects, p)
		}
	}
	var servers []string
	for i := range d.IntN(4) {
		name, labels := fmt.Sprint("server-", i), "app: "+drawnWorkloads[d.IntN(3)]
		switch d.IntN(4) {
		case 0:
			labels = "tier: all"
		case 1, 2:
			labels += ", role: " + drawnRoles[d.IntN(2)]
		}
		access := mesh.AccessPolicies[d.IntN(len(mesh.AccessPolicies))]
		d.text += server(name, labels, []int{8080, 9090}[d.IntN(2)], access)
		servers = append(servers, name)
	}
	for i := range d.IntN(3) {
		if len(servers) == 0 {
			break
		}
		parents := servers[:1+d.IntN(len(servers))]
		name := fmt.Sprint("route-", i)
		d.text += httpRoute(name, parents...)
		for _, s := range parents {
			d.routes[s] = append(d.routes[s], name)
		}
	}
	return d
}

// series returns labels of a series, which say that its Server is a default or is gone.
func (d *drawn) series(p *corev1.Pod, port uint16, route string, client mesh.ID) map[string]string {
	labels := map[string]string{"namespace": "shop", "pod": p.Name, "target_port": fmt.Sprint(port),
		"client_id": client.String(), "srv_kind": []string{"default", "server"}[d.IntN(2)], "srv_name": "gone"}
	if ref := drawnRoute(route); route != "" {
		labels["route_group"], labels["route_kind"], labels["route_name"] = ref.Group, ref.Kind, ref.Name
	}
	return labels
}

func drawnRoute(name string) mesh.Ref {
	return mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Name: name}
}

// TestLearnedPoliciesAllowWhatWasSeenAndNothingElse draws clusters and traffic. It applies what Learn prints, and asks
// the controller's and the proxy's code about every identity, port and route.
func TestLearnedPoliciesAllowWhatWasSeenAndNothingElse(t *testing.T) {
	clients := []mesh.ID{id("shop", "web"), id("shop", "pay"), id("bank", "web"), id("bank", "clerk")}
	allowed, denied := 0, 0
	for seed := range uint64(150) {
		d := drawCluster(seed)
		defaults := []mesh.AccessPolicy{mesh.AllUnauthenticated, mesh.AllAuthenticated, mesh.Deny}[seed%3]
		live := events(t, d.text, d.objects...)
		before := NewWorld(config(defaults), live)
		// the Server, made or not, and the route that a client may use
		type grant struct {
			server string
			route  string
			client mesh.ID
		}
		grants, decided := map[grant]bool{}, map[string]bool{}
		serverOf := func(p *corev1.Pod, port uint16) string {
			if ref := before.proxyOf(p).inbound.Port(port).Server; ref.Name != "" {
				return ref.Name
			}
			return fmt.Sprint(p.Labels["app"], port)
		}
		eachPart := func(f func(p *corev1.Pod, port uint16, route string)) {
			for _, p := range d.pods {
				for _, port := range []uint16{8080, 9090} {
					parts := d.routes[serverOf(p, port)]
					if len(parts) == 0 {
						parts = []string{""}
					}
					for _, route := range parts {
						f(p, port, route)
					}
				}
			}
		}
		var traffic Traffic
		eachPart(func(p *corev1.Pod, port uint16, route string) {
			for _, client := range slices.Concat(clients, []mesh.ID{{}}) {
				if d.IntN(4) > 0 {
					continue
				}
				labels := d.series(p, port, route, client)
				if name := serverOf(p, port); d.routes[name] != nil || d.IntN(2) == 0 {
					labels["srv_kind"], labels["srv_name"] = "server", name
				}
				o, why := before.observation(labels)
				if why != "" {
					t.Fatalf("seed %d: %s", seed, why)
				}
				o.Allowed, o.Count, o.Opaque = true, 1+float64(d.IntN(1000)), route == "" && d.IntN(3) == 0
				traffic.Seen = append(traffic.Seen, o)
				if client.IsZero() {
					continue
				}
				decided[serverOf(p, port)] = true
				grants[grant{serverOf(p, port), route, client}] = true
			}
		})
		used := map[string]bool{} // the Servers that select pods
		eachPart(func(p *corev1.Pod, port uint16, _ string) { used[serverOf(p, port)] = true })
		seen := maps.Clone(grants)
		for g := range seen {
			var parents []string // at which a policy for the route counts
			exact := true        // policies for Servers allow no more than was seen
			for s, routes := range d.routes {
				if g.route == "" || !used[s] || !slices.Contains(routes, g.route) {
					continue
				}
				parents = append(parents, s)
				if seen[grant{s, g.route, g.client}] {
					exact = exact && !slices.ContainsFunc(routes, func(r string) bool { return !seen[grant{s, r, g.client}] })
				}
			}
			for _, s := range parents {
				if !exact {
					grants[grant{s, g.route, g.client}] = true
				}
			}
		}
		text := written(t, Learn(before, "shop", traffic))
		if seed < 5 {
			accepted(t, text)
		}
		after, notes, err := before.Apply(live, Manifests{"default", now, parse(t, text)})
		notes = slices.DeleteFunc(notes, func(n string) bool { return strings.Contains(n, "older Servers select") })
		if err != nil || len(notes) > 0 {
			t.Fatalf("seed %d: %v %q\n%s", seed, err, notes, text)
		}
		eachPart(func(p *corev1.Pod, port uint16, route string) {
			if !decided[serverOf(p, port)] {
				return // nothing was learned: the default, or the Server's own policy, stays
			}
			for _, client := range slices.Concat(clients, []mesh.ID{{}, id("shop", "stranger")}) {
				want := grants[grant{serverOf(p, port), route, client}]
				if got := allows(t, after, p, port, drawnRoute(route), client); got != want {
					t.Fatalf("seed %d: %s port %d route %q client %q: allowed %v, want %v\n%s\n%s", seed, p.Name, port, route,
						client, got, want, d.text, text)
				}
				if want {
					allowed++
				} else {
					denied++
				}
			}
		})
	}
	if allowed < 500 || denied < 500 {
		t.Errorf("checked %d that are allowed and %d that are denied: too few", allowed, denied)
	}
}
