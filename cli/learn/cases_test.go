package learn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/internal/podowner"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// TestLearn states what learn does in cases that the golden file does not have.
func TestLearn(t *testing.T) {
	web := id("shop", "web")
	cart := Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 8080, Client: web, Allowed: true, Count: 2}
	bare := cart
	bare.Workload = Workload{"shop", "pod", "alone"}
	gone := cart
	gone.Workload.Name = "gone"
	nobody := cart
	nobody.Client = mesh.ID{}
	for name, c := range map[string]struct {
		live   string
		seen   Observation
		want   []string // parts of the output
		absent string
	}{
		"only callers without identity: no Server": {"", nobody,
			[]string{"# deploy/cart port 8080: 2 requests without identity: not allowed."}, "kind:"},
		"a pod without owner": {"", bare,
			[]string{"# pod/alone port 8080: nothing is learned, because no label selects this pod alone."}, "kind:"},
		"a pod without owner under a Server": {server("alone", "app: alone", 8080, mesh.Deny), bare,
			[]string{"name: alone-callers\n", "kind: Server\n    name: alone\n"}, "kind: Server\nmetadata"},
		"a workload without pods": {"", gone,
			[]string{"# deploy/gone port 8080: nothing is learned, because no pod of it runs."}, "kind:"},
		"a Server that selects more": {server("all", "tier: all", 8080, mesh.Deny), cart,
			[]string{"# Server all selects pods of deploy/cart, deploy/pay, pod/alone. Who may call one of them may call all."},
			""},
		"a name that another object has": {server("cart-8080", "app: pay", 9090, mesh.Deny), cart,
			[]string{"\n  name: cart-8080-2\n", "linkerd.io/proxy-deployment: cart"}, ""},
		"policies that admit clients at a Server to be made": {`---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: all-of-shop, namespace: shop}
spec:
  targetRef: {kind: Namespace, name: shop}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: pay}]
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {name: any, namespace: shop}
spec: {server: {selector: {}}, client: {unauthenticated: true}}
`, cart, []string{
			"# AuthorizationPolicy all-of-shop exists and admits clients at Server cart-8080, too. Delete it to have only",
			"# ServerAuthorization any exists and admits clients at Server cart-8080, too. Delete it to have only"}, ""},
		"labels and annotations of a Server stay": {
			strings.Replace(server("cart", "app: cart", 8080, mesh.Audit), "metadata: {",
				`metadata: {labels: {team: "yes"}, annotations: {note: "# it's"}, `, 1), cart,
			[]string{"team: \"yes\"", `note: '# it''s'`, "accessPolicy: deny"}, "created-by: tulle/policy-learn\n  labels"},
	} {
		t.Run(name, func(t *testing.T) {
			alone := pod("shop", "", "alone", "10.0.0.9")
			alone.Labels["app"] = "alone"
			live := events(t, c.live, namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"),
				pod("shop", "pay", "pay-1", "10.0.0.2"), alone)
			w := NewWorld(config(mesh.AllUnauthenticated), live)
			text := written(t, Learn(w, "shop", Traffic{Seen: []Observation{c.seen}}))
			accepted(t, text)
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if c.absent != "" && strings.Contains(text, c.absent) {
				t.Errorf("%q in\n%s", c.absent, text)
			}
		})
	}
}

// TestLearnNamesEarlierCallersOfARoute names a client that used another route within the window. Without routes, who is
// seen once may send anything.
func TestLearnNamesEarlierCallersOfARoute(t *testing.T) {
	seen := Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 8080, Client: id("shop", "web"),
		Route: drawnRoute("open"), Allowed: true, Count: 1}
	earlier := seen
	earlier.Route, earlier.Count = drawnRoute("admin"), 0
	opaque := earlier
	opaque.Route, opaque.Opaque = mesh.Ref{}, true
	const who = "deploy/cart port 8080: spiffe://cluster.local/ns/shop/sa/web"
	const rest = ": not allowed. It called before the time window, or only once in it. A longer -t looks further back."
	closed := server("cart", "app: cart", 8080, mesh.Deny)
	for name, c := range map[string]struct {
		live string
		want []string
	}{
		"routes": {closed + httpRoute("admin", "cart") + httpRoute("open", "cart"),
			[]string{who + ", httproute/admin" + rest, who + ", connections" + rest}},
		"no routes": {closed, nil},
	} {
		live := events(t, c.live, namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"))
		w := NewWorld(config(mesh.AllUnauthenticated), live)
		notes := Learn(w, "shop", Traffic{Seen: []Observation{seen}, Earlier: []Observation{earlier, opaque}}).Notes
		if diff := cmp.Diff(c.want, notes); diff != "" {
			t.Errorf("%s: notes (-want +got):\n%s", name, diff)
		}
	}
}

// TestLearnKeepsServersOfARouteApart has a route of two Servers, and a caller of one of them.
func TestLearnKeepsServersOfARouteApart(t *testing.T) {
	seen := Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 8080, Client: id("shop", "web"),
		Route: drawnRoute("open"), Allowed: true, Count: 1}
	servers := server("cart", "app: cart", 8080, mesh.Deny) + server("pay", "app: pay", 8080, mesh.Deny)
	for name, c := range map[string]struct {
		live, target string
		notes        []string
	}{
		"it used all routes of the Server": {servers + httpRoute("open", "cart", "pay"), "Server", nil},
		"it used one of two": {servers + httpRoute("open", "cart", "pay") + httpRoute("admin", "cart"), "HTTPRoute",
			[]string{"HTTPRoute open belongs to Servers cart, pay. Who may call it at one may call it at all."}},
	} {
		w := NewWorld(config(mesh.Deny), events(t, c.live, namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"),
			pod("shop", "pay", "pay-1", "10.0.0.2")))
		policies := Learn(w, "shop", Traffic{Seen: []Observation{seen}})
		if diff := cmp.Diff(c.notes, policies.Notes); diff != "" {
			t.Errorf("%s: notes (-want +got):\n%s", name, diff)
		}
		var targets []any
		for _, d := range policies.Documents {
			if ref, ok := d.Tree["spec"].(map[string]any)["targetRef"].(map[string]any); ok {
				targets = append(targets, ref["kind"])
			}
		}
		if diff := cmp.Diff([]any{c.target}, targets); diff != "" {
			t.Errorf("%s: targets (-want +got):\n%s", name, diff)
		}
	}
}

// TestLearnKeepsServersOfAWorkloadApart has a workload whose pods have two Servers, by their roles, and one pod
// without.
func TestLearnKeepsServersOfAWorkloadApart(t *testing.T) {
	var objects []metav1.Object
	pods := map[string]*corev1.Pod{}
	for i, role := range []string{"primary", "replica", "spare"} {
		p := pod("shop", "db", "db-"+role, fmt.Sprint("10.0.0.", i+1))
		p.Labels["role"] = role
		pods[role], objects = p, append(objects, p)
	}
	live := events(t, server("primary", "app: db, role: primary", 8080, mesh.Audit)+
		server("replica", "app: db, role: replica", 8080, mesh.Audit), append(objects, namespace("shop"))...)
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	const lost = "deploy/db port 8080: 1 request of spiffe://cluster.local/ns/shop/sa/web: not allowed. Its pods do " +
		"not all have the same Server, and it is not known which pod was called."
	for name, c := range map[string]struct {
		pod, kind, server string
		want              []string // the roles of the pods that web may still call
		notes             []string
	}{
		"the Server of the pod":                 {"db-replica", "server", "replica", []string{"replica"}, nil},
		"the Server of another role, earlier":   {"db-replica", "server", "primary", []string{"primary"}, nil},
		"a pod that is gone":                    {"db-5d8f-1", "server", "primary", []string{"primary"}, nil},
		"a Server that is gone":                 {"db-primary", "server", "old", []string{"primary"}, nil},
		"before the Server was made":            {"db-primary", "default", "deny", []string{"primary"}, nil},
		"a pod without Server":                  {"db-spare", "default", "deny", []string{"spare"}, nil},
		"a pod that is gone, and its Server":    {"db-5d8f-1", "server", "old", nil, []string{lost}},
		"a pod that is gone, before the Server": {"db-5d8f-1", "default", "deny", nil, []string{lost}},
	} {
		t.Run(name, func(t *testing.T) {
			samples := make([][]metrics.Sample, len(Queries([]string{"shop"})))
			labels := func(pod, kind, server, account string) map[string]string {
				return map[string]string{"namespace": "shop", "deployment": "db", "pod": pod, "target_port": "8080",
					"srv_kind": kind, "srv_name": server, "client_id": id("shop", account).String()}
			}
			samples[0] = []metrics.Sample{{Value: 1, Labels: labels(c.pod, c.kind, c.server, "web")},
				{Value: 1, Labels: labels("db-primary", "server", "primary", "pay")},
				{Value: 1, Labels: labels("db-replica", "server", "replica", "pay")},
				{Value: 1, Labels: labels("db-spare", "default", "deny", "pay")}}
			policies := Learn(w, "shop", Read(w, []string{"shop"}, samples))
			if diff := cmp.Diff(c.notes, policies.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			after, _, err := w.Apply(live, Manifests{"default", now, parse(t, written(t, policies))})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, role := range []string{"primary", "replica", "spare"} {
				if allows(t, after, pods[role], 8080, mesh.Ref{}, id("shop", "web")) {
					got = append(got, role)
				}
				if !allows(t, after, pods[role], 8080, mesh.Ref{}, id("shop", "pay")) {
					t.Errorf("pay may not call %s any more", role)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("web may call (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLearnDeclaresOpaquePorts makes a Server for a port without HTTP.
func TestLearnDeclaresOpaquePorts(t *testing.T) {
	connection := Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 9090, Client: id("shop", "web"),
		Opaque: true, Allowed: true, Count: 1}
	request := connection
	request.Opaque, request.Client, request.Allowed = false, mesh.ID{}, false
	for name, c := range map[string]struct {
		traffic Traffic
		probed  int32
		want    bool
	}{
		"connections only":          {Traffic{Seen: []Observation{connection}}, 1, true},
		"a request that was denied": {Traffic{Seen: []Observation{connection, request}}, 1, false},
		"a request, earlier": {Traffic{Seen: []Observation{connection}, Earlier: []Observation{request}}, 1,
			false},
		"a probe of the port over HTTP": {Traffic{Seen: []Observation{connection}}, 9090, false},
	} {
		p := pod("shop", "cart", "cart-1", "10.0.0.1")
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(c.probed)}}}
		w := NewWorld(config(mesh.AllUnauthenticated), events(t, "", namespace("shop"), p))
		text := written(t, Learn(w, "shop", c.traffic))
		accepted(t, text)
		if got := strings.Contains(text, "proxyProtocol: opaque"); got != c.want {
			t.Errorf("%s: declared opaque %v, want %v\n%s", name, got, c.want, text)
		}
	}
}

// TestLearnSplitsManyCallers keeps within what one MeshTLSAuthentication may have.
func TestLearnSplitsManyCallers(t *testing.T) {
	live := events(t, "", namespace("shop"), pod("shop", "cart", "cart-1", "10.0.0.1"))
	w := NewWorld(config(mesh.AllUnauthenticated), live)
	var traffic Traffic
	for i := range maxIdentities + 1 {
		traffic.Seen = append(traffic.Seen, Observation{Workload: Workload{"shop", "deployment", "cart"}, Port: 8080,
			Client: id("shop", fmt.Sprint("client-", i)), Allowed: true, Count: 1})
	}
	policies := Learn(w, "shop", traffic)
	if n := len(policies.Documents); n != 5 {
		t.Errorf("%d documents, want a Server and two pairs of an authentication and a policy", n)
	}
	after, _, err := w.Apply(live, Manifests{"shop", now, accepted(t, written(t, policies))})
	if err != nil {
		t.Fatal(err)
	}
	if got := WhatIf(w, after, traffic, 60).Changes; len(got) > 0 {
		t.Errorf("changes: %v", got)
	}
}

// TestReadBelievesTheCluster gives requests to the workload of the pod, whatever the labels of its series say.
func TestReadBelievesTheCluster(t *testing.T) {
	plain := pod("shop", "web", "web-plain", "10.0.0.3")
	delete(plain.Labels, mesh.ControlPlaneNSLabel)
	renamed := pod("shop", "pay", "pay-1", "10.0.0.4")
	renamed.Labels[podowner.LabelPrefix+"deployment"] = "cart"
	w := NewWorld(config(mesh.Deny), events(t, "", []metav1.Object{namespace("shop"), plain, renamed,
		pod("shop", "cart", "cart-1", "10.0.0.2")}...))
	long := strings.Repeat("long", 20)
	for name, c := range map[string]struct{ pod, deployment, want string }{
		"the pod runs":                         {"cart-1", "web", "deploy/cart"},
		"the pod is gone":                      {"web-5d8f7c9b4-abcde", "web", "deploy/web"},
		"the pod is gone, its name cut off":    {long[:58] + "abcde", long, "deploy/" + long},
		"the pod is gone and cannot be of web": {"webb-1", "web", ""},
		"the pod claims another owner":         {"pay-1", "cart", "pod/pay-1"},
		"the pod has no proxy":                 {"web-plain", "web", ""},
	} {
		samples := make([][]metrics.Sample, len(Queries([]string{"shop"})))
		samples[0] = []metrics.Sample{{Value: 1, Labels: map[string]string{"namespace": "shop", "target_port": "8080",
			"pod": c.pod, "deployment": c.deployment}}}
		got := Read(w, []string{"shop"}, samples)
		switch {
		case c.want == "" && (len(got.Seen) > 0 || len(got.Notes) == 0):
			t.Errorf("%s: got %+v and notes %q; want a note", name, got.Seen, got.Notes)
		case c.want != "" && (len(got.Seen) != 1 || got.Seen[0].Workload.String() != c.want):
			t.Errorf("%s: got %+v, want %s", name, got.Seen, c.want)
		}
	}
}

// TestReadAttributes gives one request to the workload that its labels name.
func TestReadAttributes(t *testing.T) {
	rollout := pod("shop", "", "rollout-1", "10.0.0.3")
	rollout.Labels[podowner.LabelPrefix+"rollout"] = "canary"
	rollout.OwnerReferences = replicaSet("canary")
	w := NewWorld(config(mesh.Deny), events(t, "", []metav1.Object{namespace("shop"), rollout}...))
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"a Deployment":              {map[string]string{"deployment": "web", "pod": "web-1"}, "deploy/web"},
		"a StatefulSet":             {map[string]string{"statefulset": "db", "pod": "db-0"}, "sts/db"},
		"a Job":                     {map[string]string{"k8s_job": "nightly", "pod": "nightly-x"}, "job/nightly"},
		"an owner of a custom kind": {map[string]string{"pod": "rollout-1"}, "rollout/canary"},
		"a pod without owner":       {map[string]string{"pod": "alone"}, "pod/alone"},
	} {
		c.labels["namespace"], c.labels["target_port"] = "shop", "8080"
		for _, namespaces := range [][]string{{"shop"}, strings.Fields("shop a b c d e f g h i")} {
			queries := Queries(namespaces)
			if len(queries) > 64 {
				t.Fatalf("%d queries: metrics-api takes 64", len(queries))
			}
			samples := make([][]metrics.Sample, len(queries))
			other := map[string]string{"namespace": "elsewhere", "deployment": "web", "target_port": "1"}
			samples[0] = []metrics.Sample{{Labels: c.labels, Value: 1}, {Labels: other, Value: 1}}
			got := Read(w, namespaces, samples)
			if len(got.Seen) != 1 || got.Seen[0].Workload.String() != c.want || got.Seen[0].Port != 8080 {
				t.Errorf("%s: got %+v, want %s", name, got, c.want)
			}
		}
	}
}
