package board

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fakedynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/authz"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// policyWorld is a cluster with pods of web and db in namespace shop, and one of batch in namespace far.
type policyWorld struct {
	manifests, series string
	// forbidden are the resources that the viewer may not list, as in pods or servers.policy.linkerd.io. With a namespace
	// after a slash, the viewer may list them elsewhere.
	forbidden []string
	// broken is a resource that the API server cannot list.
	broken string
}

func (w policyWorld) refuse(resource, namespace string) error {
	if !slices.Contains(w.forbidden, resource) && !slices.Contains(w.forbidden, resource+"/"+namespace) {
		return nil
	}
	return apierrors.NewForbidden(schema.ParseGroupResource(resource), "", errors.New("no right"))
}

// List implements resource.Lister.
func (w policyWorld) List(_ context.Context, k resource.Kind, namespace, _ string) (out []resource.Object, err error) {
	if err := w.refuse(k.Plural, namespace); err != nil {
		return nil, err
	}
	switch k.Name {
	case resource.Namespace:
		for _, name := range []string{"far", "shop"} {
			out = append(out, resource.Object{Name: name})
		}
	case "service":
		for _, o := range []resource.Object{{Namespace: "far", Name: "db"}, {Namespace: "shop", Name: "web"}} {
			if namespace == "" || namespace == o.Namespace {
				out = append(out, o)
			}
		}
	case "pod":
		for _, p := range policyPods() {
			if namespace == "" || namespace == p.Namespace {
				out = append(out, resource.Object{Namespace: p.Namespace, Name: p.Name,
					Pods: []resource.Pod{{Name: p.Name, Meshed: true}}})
			}
		}
	}
	return out, nil
}

func policyPods() []*corev1.Pod {
	pod := func(namespace, workload, name string) *corev1.Pod {
		yes := true
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
			Labels: map[string]string{"app": workload, "linkerd.io/proxy-deployment": workload},
			OwnerReferences: []metav1.OwnerReference{
				{Kind: "ReplicaSet", Name: workload + "-5d8f", Controller: &yes}}}}
	}
	old := pod("shop", "web", "web-old")
	old.Labels["app"] = "other"
	return []*corev1.Pod{pod("shop", "web", "web-1"), pod("shop", "web", "web-2"), old, pod("shop", "db", "db-1"),
		pod("far", "batch", "batch-1")}
}

func (w policyWorld) sources(t *testing.T) Sources {
	t.Helper()
	source, err := metricstest.New(w.series)
	if err != nil {
		t.Fatal(err)
	}
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range kinds.Configuration() {
		for _, v := range k.Versions {
			lists[k.Resource(v)] = k.Name + "List"
		}
	}
	var objects []runtime.Object
	for text := range strings.SplitSeq(w.manifests, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		if u.Object != nil {
			objects = append(objects, u)
		}
	}
	dynamic := fakedynamic.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)
	typed := fake.NewClientset()
	for _, p := range policyPods() {
		if err := typed.Tracker().Add(p); err != nil {
			t.Fatal(err)
		}
	}
	refuse := func(a clienttesting.Action) (bool, runtime.Object, error) {
		gvr := a.GetResource()
		err := w.refuse(gvr.GroupResource().String(), a.GetNamespace())
		return err != nil, nil, err
	}
	dynamic.PrependReactor("list", "*", refuse)
	dynamic.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetResource().GroupResource().String() != w.broken {
			return false, nil, nil
		}
		return true, nil, apierrors.NewInternalError(errors.New("conversion webhook is away"))
	})
	typed.PrependReactor("list", "*", refuse)
	return Sources{Numbers: source, Objects: w, ControlNamespace: "tulle",
		Client: &cluster.Client{Interface: typed, Dynamic: dynamic}}
}

func (w policyWorld) page(t *testing.T, namespace string) PoliciesPage {
	t.Helper()
	page, err := Policies(t.Context(), w.sources(t), Query{Namespace: namespace, Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// shopPolicies are a Server with a route, whose policy names an authentication, and one object of other kinds each.
const shopPolicies = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {namespace: shop, name: web, generation: 2}
spec: {podSelector: {matchLabels: {app: web}}, port: http, accessPolicy: deny}
status: {conditions: [{type: Accepted, status: "True", reason: Accepted, observedGeneration: 2}]}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {namespace: shop, name: spare, generation: 2}
spec: {podSelector: {matchLabels: {app: none}}, port: 9}
status: {conditions: [{type: Accepted, status: "True", reason: Accepted, observedGeneration: 1}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {namespace: shop, name: web-callers}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: web}
  requiredAuthenticationRefs:
  - {group: policy.linkerd.io, kind: MeshTLSAuthentication, name: callers}
  - {group: policy.linkerd.io, kind: NetworkAuthentication, name: gone}
status:
  conditions:
  - {type: Accepted, status: "True"}
  - {type: ResolvedRefs, status: "False", reason: AuthenticationNotFound, message: there is no gone}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: {namespace: shop, name: callers}
spec: {identityRefs: [{kind: ServiceAccount, name: db}, {kind: Namespace, name: far}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: {namespace: shop, name: limit}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: web}
  total: {requestsPerSecond: 100}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: books}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches: [{method: GET, path: {type: PathPrefix, value: /books}}]
    backendRefs: [{name: web, port: 80, weight: 9}, {name: web-next, port: 80, weight: 1}]
status:
  parents:
  - controllerName: tulle.dev/policy-controller
    parentRef: {group: "", kind: Service, name: web, port: 80}
    conditions: [{type: PartiallyInvalid, status: "True", reason: UnsupportedValue, message: hostnames have no effect}]
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {namespace: shop, name: admin}
spec:
  parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}]
  rules: [{matches: [{path: {type: Exact, value: /admin}}]}]
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {namespace: shop, name: web.shop.svc.cluster.local}
spec: {routes: [{name: GET /carts, condition: {method: GET}}]}
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {namespace: shop, name: any}
spec: {server: {name: web}, client: {unauthenticated: true, networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}}
`

// decided returns the series of policy at one Server of namespace shop.
func decided(server, route, authorization string, allowed, denied int, client string) string {
	l := fmt.Sprintf(`direction="inbound",namespace="shop",deployment="web",pod="web-1",target_port="8080",%s,%s`, server,
		route)
	kind, name, _ := strings.Cut(authorization, "/")
	return fmt.Sprintf(`response_total{%[1]s,authz_kind=%[2]q,authz_name=%[3]q,classification="success"} %[4]d
inbound_http_authz_deny_total{%[1]s,%[6]s} %[5]d
`, l, kind, name, allowed, denied, client)
}

const (
	atWeb     = `srv_group="policy.linkerd.io",srv_kind="server",srv_name="web"`
	noRoute   = `route_kind="default",route_name="default"`
	adminOnly = `route_group="policy.linkerd.io",route_kind="HTTPRoute",route_name="admin"`
	fromBatch = `client_id="spiffe://cluster.local/ns/far/sa/batch",reason="not_authorized"`
)

func shopDecisions() string {
	return decided(atWeb, noRoute, "authorizationpolicy/web-callers", 120, 0, fromBatch) +
		decided(atWeb, adminOnly, "serverauthorization/any", 60, 30, fromBatch) +
		decided(`srv_kind="default",srv_name="deny"`, noRoute, "default/deny", 0, 12,
			`client_id="spiffe://cluster.local/ns/far/sa/batch",reason="denied"`) +
		`inbound_http_local_ratelimit_total{namespace="shop",ratelimit_name="limit"} 12
inbound_tcp_authz_allow_total{namespace="shop",pod="web-1",` + atWeb +
		`,authz_kind="authorizationpolicy",authz_name="web-callers"} 6
` + routedTo("books", "success", 54) + routedTo("books", "failure", 6) + routedTo("GET /carts", "success", 18)
}

// routedTo returns the series of the requests to Service web under a route.
func routedTo(route, classification string, n int) string {
	return fmt.Sprintf("route_response_total{direction=%q,dst=%q,rt_route=%q,classification=%q} %d\n", "outbound",
		"web.shop.svc.cluster.local:80", route, classification, n)
}

func objectText(o PolicyObject) string {
	var parts []string
	for _, f := range o.Facts {
		parts = append(parts, f.Name+"="+strings.Join(f.Values, ";"))
	}
	for _, l := range o.Links {
		text := l.Role + ":" + l.Kind + "/" + l.Name
		if l.Missing {
			text += " missing"
		}
		if l.Detail != "" {
			text += " (" + l.Detail + ")"
		}
		parts = append(parts, text)
	}
	for _, t := range o.Traffic {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %.1f %s %s %s", t.Result, t.RPS, t.Unit, t.Route,
			t.Authorization)))
	}
	return fmt.Sprintf("%s %s: %s", o.Kind, o.Name, strings.Join(parts, ", "))
}

func TestPoliciesShowsWhatEachObjectSelectsAndDid(t *testing.T) {
	page := policyWorld{manifests: shopPolicies, series: shopDecisions()}.page(t, "shop")
	var got []string
	for _, o := range page.Objects {
		got = append(got, o.State+" "+objectText(o))
	}
	want := []string{
		"error AuthorizationPolicy web-callers: target:Server/web, requires:MeshTLSAuthentication/callers, " +
			"requires:NetworkAuthentication/gone missing, allowed 2.0 request  authorizationpolicy/web-callers, " +
			"allowed 0.1 connection  authorizationpolicy/web-callers",
		"warning HTTPRoute books: Rules=1, Matches=GET /books/*, parent:service/web, backend:service/web (weight 9), " +
			"backend:service/web-next (weight 1), routed 1.0 request books",
		"pending Server spare: Port=9, Protocol=unknown, Access policy=deny, Selects pods with=app=none, " +
			"Selected now=no pod",
		"none HTTPLocalRateLimitPolicy limit: All clients together=100 requests a second, target:Server/web, " +
			"limited 0.2 request",
		"none HTTPRoute admin: Rules=1, Matches=/admin, parent:Server/web, denied 0.5 request admin, " +
			"allowed 1.0 request admin serverauthorization/any",
		"none MeshTLSAuthentication callers: Identities=ServiceAccount db.shop;every ServiceAccount of namespace far, " +
			"by:AuthorizationPolicy/web-callers",
		"ok Server web: Port=http, Protocol=unknown, Access policy=deny, Selects pods with=app=web, " +
			"pods:deployment/web (2 of 3 pods), by:AuthorizationPolicy/web-callers, by:HTTPLocalRateLimitPolicy/limit, " +
			"by:HTTPRoute/admin, by:ServerAuthorization/any, denied 0.5 request admin, " +
			"allowed 1.0 request admin serverauthorization/any, allowed 2.0 request  authorizationpolicy/web-callers, " +
			"allowed 0.1 connection  authorizationpolicy/web-callers",
		"none ServerAuthorization any: Clients=all, also those without identity, Networks=10.0.0.0/8 without 10.1.0.0/16, " +
			"target:Server/web, allowed 1.0 request admin serverauthorization/any",
		"none ServiceProfile web.shop.svc.cluster.local: Routes=GET /carts, parent:service/web, " +
			"routed 0.3 request GET /carts",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if len(page.Notes) > 0 {
		t.Errorf("notes %q", page.Notes)
	}
}

// TestPoliciesEqualsAuthz holds the numbers of a Server against the rows of `tulle viz authz`.
func TestPoliciesEqualsAuthz(t *testing.T) {
	s := policyWorld{manifests: shopPolicies, series: shopDecisions()}.sources(t)
	targets, err := resource.Parse([]string{"ns/shop"})
	if err != nil {
		t.Fatal(err)
	}
	result, err := authz.Rows(t.Context(), s.Numbers, s.Objects, subject.Request{Targets: targets, Window: time.Minute},
		func(string, string) *mesh.Inbound { return nil })
	if err != nil {
		t.Fatal(err)
	}
	page, err := Policies(t.Context(), s, Query{Namespace: "shop", Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(page.Objects, func(o PolicyObject) bool { return o.Kind == "Server" && o.Name == "web" })
	for _, row := range result.Rows {
		if row.Server != "web" {
			continue
		}
		if !slices.ContainsFunc(page.Objects[i].Traffic, func(p PolicyTraffic) bool {
			return p.Unit == UnitRequest && p.Authorization == row.Authorization &&
				(row.Stats == nil && p.RPS == row.Denied || row.Stats != nil && cmp.Equal(p.Golden, newGolden(row.Stats)))
		}) {
			t.Errorf("no traffic equals %+v", row)
		}
	}
}

func TestPoliciesExplainsDenials(t *testing.T) {
	page := policyWorld{manifests: shopPolicies, series: shopDecisions()}.page(t, "shop")
	if len(page.Denials) != 2 {
		t.Fatalf("%d denials: %+v", len(page.Denials), page.Denials)
	}
	atRoute, atPort := page.Denials[0], page.Denials[1]
	if atRoute.Client != "batch.far" || atRoute.Workload != (Ref{"deployment", "shop", "web"}) || atRoute.RPS != 0.5 ||
		atRoute.Server.Name != "web" || atRoute.Route.ID != "httproutes.policy.linkerd.io/shop/admin" {
		t.Errorf("denial %+v", atRoute)
	}
	want := []string{
		"No authorization of HTTPRoute admin at Server web (accessPolicy deny) names this client.",
		"An AuthorizationPolicy for the identity batch.far at HTTPRoute admin.",
		"kubectl logs deploy/web -n shop -c tulle-proxy | grep denied",
		"No Server selects port 8080. The default inbound policy deny decides.",
		"A Server for port 8080, and an AuthorizationPolicy for the identity batch.far.",
	}
	got := []string{atRoute.Rule, atRoute.Remedy, atRoute.Logs, atPort.Rule, atPort.Remedy}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(atRoute.Others) != 2 {
		t.Errorf("others %+v", atRoute.Others)
	}
	wantTry := `tulle policy what-if -t 1m -f - <<'EOF'
# Allows spiffe://cluster.local/ns/far/sa/batch at port 8080 of deploy/web.
---
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata:
  name: admin-from-batch
  namespace: shop
spec:
  identities:
  - spiffe://cluster.local/ns/far/sa/batch
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata:
  name: admin-from-batch
  namespace: shop
spec:
  requiredAuthenticationRefs:
  - group: policy.linkerd.io
    kind: MeshTLSAuthentication
    name: admin-from-batch
  targetRef:
    group: policy.linkerd.io
    kind: HTTPRoute
    name: admin
EOF`
	if diff := cmp.Diff(wantTry, atRoute.Try); diff != "" {
		t.Errorf("try (-want +got):\n%s", diff)
	}
	for _, part := range []string{"kind: Server\n", "name: web-8080\n", "linkerd.io/proxy-deployment: web\n",
		"kind: AuthorizationPolicy\n", "name: web-8080-from-batch\n"} {
		if !strings.Contains(atPort.Try, part) {
			t.Errorf("the objects for the port lack %q:\n%s", part, atPort.Try)
		}
	}
}

func TestPoliciesSaysWhatHelpsEachDeniedClient(t *testing.T) {
	const batch = `client_id="spiffe://cluster.local/ns/far/sa/batch"`
	for name, tt := range map[string]struct {
		client, server, rule, remedy, kind string
		forbidden                          []string
	}{
		"without identity": {client: `reason="no_identity"`, server: atWeb, kind: ClientNone,
			rule: "Server web (accessPolicy deny) allows only clients with an identity.", remedy: "Mesh the client"},
		"from another network": {client: batch + `,reason="outside_networks"`, server: atWeb, kind: ClientNamed,
			rule: "do not include its address", remedy: "Add the client's address"},
		"from outside of the cluster": {client: batch + `,reason="outside_cluster"`, kind: ClientNamed,
			server: `srv_kind="default",srv_name="cluster-authenticated"`,
			rule:   "The default inbound policy cluster-authenticated decides.", remedy: "clusterNetworks"},
		"beyond the bound of metrics": {client: `overflow="true",reason="not_authorized"`, server: atWeb,
			kind: ClientOverflow, rule: "names this client", remedy: "Its log has their identities"},
		"of a namespace that the viewer may not read": {client: batch + `,reason="not_authorized"`, server: atWeb,
			kind: ClientHidden, rule: "names this client", remedy: "you may not read its namespace",
			forbidden: []string{"pods/far"}},
		"with an identity that is none": {client: `client_id="<img onerror=x>",reason="not_authorized"`, server: atWeb,
			kind: ClientHidden, rule: "names this client", remedy: "you may not read its namespace"},
		"not HTTP": {client: batch + `,reason="not_http"`, server: atWeb, kind: ClientNamed,
			rule: "this port accepts only HTTP", remedy: "reason not_http"},
		"at a Server that is gone": {client: batch + `,reason="not_authorized"`, kind: ClientNamed,
			server: `srv_kind="server",srv_name="old"`, rule: "Server old (gone now)", remedy: "The Server is gone."},
	} {
		t.Run(name, func(t *testing.T) {
			w := policyWorld{manifests: shopPolicies, series: decided(tt.server, noRoute, "default/x", 0, 6, tt.client),
				forbidden: tt.forbidden}
			page := w.page(t, "shop")
			if len(page.Denials) != 1 {
				t.Fatalf("%d denials", len(page.Denials))
			}
			d := page.Denials[0]
			if d.ClientKind != tt.kind || !strings.Contains(d.Rule, tt.rule) || !strings.Contains(d.Remedy, tt.remedy) ||
				d.Try != "" {
				t.Errorf("%s: rule %q, remedy %q, try %q", d.ClientKind, d.Rule, d.Remedy, d.Try)
			}
			if d.ClientKind == ClientHidden && (d.Client != "" || strings.Contains(d.Command, "batch")) {
				t.Errorf("the hidden client is named: %+v", d)
			}
		})
	}
}

// TestPoliciesPutsNoHostileNameIntoACommand: metrics come from pods, which can say anything.
func TestPoliciesPutsNoHostileNameIntoACommand(t *testing.T) {
	series := `inbound_http_authz_deny_total{namespace="shop",pod="$(reboot)",target_port="8080",srv_kind="server",` +
		`srv_name="x\nEOF\nreboot",reason="denied",client_id="spiffe://cluster.local/ns/far/sa/batch"} 6` + "\n"
	page := policyWorld{manifests: shopPolicies, series: series,
		forbidden: []string{"servers.policy.linkerd.io"}}.page(t, "shop")
	if d := page.Denials[0]; d.Try != "" || d.Logs != "" || !d.Gone {
		t.Errorf("try %q, logs %q, gone %v", d.Try, d.Logs, d.Gone)
	}
	for kind, want := range map[string]bool{"deployment": true, "pod": true, "cronjob": false, "$(reboot)": false} {
		if hasLogs(kind) != want {
			t.Errorf("`kubectl logs` takes %q: got %v", kind, !want)
		}
	}
}

// TestPoliciesGoesOnWithoutAKind: the conversion of one kind is broken, or one object is not as its kind wants it.
func TestPoliciesGoesOnWithoutAKind(t *testing.T) {
	page := policyWorld{manifests: shopPolicies, broken: "grpcroutes.gateway.networking.k8s.io"}.page(t, "shop")
	if len(page.Objects) != 9 || len(page.Notes) != 1 || !strings.Contains(page.Notes[0], "webhook is away") {
		t.Errorf("%d objects, notes %q", len(page.Objects), page.Notes)
	}
	page = policyWorld{manifests: `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {namespace: shop, name: spec}
spec: web
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {namespace: shop, name: status}
spec: {port: 80}
status: {conditions: none}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {namespace: shop, name: none}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: empty}
spec: {parentRefs: [{name: ""}], rules: [null, {backendRefs: [null, {name: web, weight: 0}, {kind: Bucket, name: b}]}]}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {namespace: shop, name: self}
spec: {targetRef: {group: policy.linkerd.io, kind: AuthorizationPolicy, name: self}}
`}.page(t, "shop")
	var got []string
	for _, o := range page.Objects {
		got = append(got, o.State+" "+objectText(o))
	}
	want := []string{
		"error Server spec: ",
		"error Server status: Port=80, Protocol=unknown, Access policy=deny",
		"none AuthorizationPolicy self: Clients=all, also those without identity, target:AuthorizationPolicy/self, " +
			"by:AuthorizationPolicy/self",
		"none HTTPRoute empty: Rules=2, Matches=every request, parent:Gateway/, backend:Bucket/b, backend:service/, " +
			"backend:service/web (weight 0)",
		"none Server none: Port=0, Protocol=unknown, Access policy=deny",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPoliciesCountsRoutesOfEveryKind: also those of other protocols, and those to Services of other namespaces.
func TestPoliciesCountsRoutesOfEveryKind(t *testing.T) {
	const manifests = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: books}
spec:
  parentRefs:
  - {group: "", kind: Service, namespace: far, name: db}
  - {group: "", kind: Service, namespace: gone, name: it}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {namespace: shop, name: rows}
spec: {parentRefs: [{group: "", kind: Service, name: web}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {namespace: shop, name: secret}
spec: {parentRefs: [{group: "", kind: Service, name: web}]}
`
	const series = `route_response_total{direction="outbound",dst="db.far.svc.cluster.local:80",rt_route="books",` +
		`classification="success"} 60
outbound_tcp_route_open_total{parent_kind="Service",parent_namespace="shop",parent_name="web",parent_port="80",` +
		`route_kind="TCPRoute",route_namespace="shop",route_name="rows"} 30
`
	w := policyWorld{manifests: manifests, series: series}
	check := func(page PoliciesPage, notes int, want ...string) {
		t.Helper()
		var got []string
		for _, o := range page.Objects {
			text := o.Name + " not known"
			if o.Traffic != nil {
				text = o.Name
			}
			for _, n := range o.Traffic {
				text += fmt.Sprintf(", %s %.1f %s to %s:%s, %s", n.Result, n.RPS, n.Unit, n.Service.Name, n.Port, n.Command)
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(page.Notes) != notes {
			t.Errorf("notes %q, (-want +got):\n%s", page.Notes, diff)
		}
	}
	rows := `rows, routed 0.5 connection to web:80, sum by (parent_namespace, parent_name, parent_port) (increase(` +
		`outbound_tcp_route_open_total{route_kind="TCPRoute",route_namespace="shop",route_name="rows"}[1m]))`
	check(w.page(t, "shop"), 0, "books, routed 1.0 request to db:80, tulle viz routes svc/db -n far -o wide -t 1m", rows,
		"secret")
	w.forbidden = []string{"services/far"}
	check(w.page(t, "shop"), 1, "books", rows, "secret")
}

// TestPoliciesBoundsWhatItShows: a cluster has many pods, denied clients and routes of a ServiceProfile.
func TestPoliciesBoundsWhatItShows(t *testing.T) {
	series := strings.Builder{}
	for i := range maxDenials + 5 {
		fmt.Fprintf(&series, "inbound_http_authz_deny_total{namespace=%q,pod=%q,srv_kind=%q,srv_name=%q,client_id=%q} 6\n",
			"shop", "web-1", "server", "web", fmt.Sprintf("spiffe://cluster.local/ns/far/sa/c%d", i))
	}
	manifests := shopPolicies + `---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {namespace: far, name: web.shop.svc.cluster.local}
spec:
  routes:
`
	for i := range maxFactValues + 1 {
		manifests += fmt.Sprintf("  - {name: r%d, condition: {method: GET}}\n", i)
	}
	for i := range maxRoleLinks + 5 {
		manifests += fmt.Sprintf(`---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {namespace: shop, name: p%d}
spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: spare}}
`, i)
	}
	last := fmt.Sprintf("r%d", maxFactValues)
	page := policyWorld{manifests: manifests, series: series.String() + routedTo(last, "success", 6)}.page(t, "")
	if len(page.Denials) != maxDenials || page.MoreDenials != 5 {
		t.Errorf("%d denials and %d more", len(page.Denials), page.MoreDenials)
	}
	found := 0
	for _, o := range page.Objects {
		switch {
		case o.Kind == "Server" && o.Name == "spare":
			found++
			if len(o.Links) != maxRoleLinks || o.MoreLinks != 5 {
				t.Errorf("Server %s: %d links and %d more", o.Name, len(o.Links), o.MoreLinks)
			}
		case o.Kind == "ServiceProfile" && o.Namespace == "far":
			found++
			if len(o.Traffic) != 1 || o.Traffic[0].Route != last {
				t.Errorf("ServiceProfile: %+v", o.Traffic)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 objects", found)
	}
}

func TestPoliciesWithoutRights(t *testing.T) {
	w := policyWorld{manifests: shopPolicies, series: shopDecisions()}
	w.forbidden = []string{"namespaces", "services", "servers.policy.linkerd.io"}
	page := w.page(t, "shop")
	for _, o := range page.Objects {
		switch {
		case o.Kind == "Server":
			t.Errorf("a Server is shown: %+v", o)
		case o.Kind == "ServiceProfile" && o.Traffic != nil:
			t.Errorf("requests of Services are shown: %+v", o.Traffic)
		case o.Name == "web-callers" && (len(o.Traffic) != 2 || o.Links[0].Missing):
			t.Errorf("policy %+v", o)
		}
	}
	if len(page.Objects) != 7 || len(page.Notes) != 2 || len(page.Denials) != 2 {
		t.Errorf("%d objects, %d denials, notes %q", len(page.Objects), len(page.Denials), page.Notes)
	}
	w.forbidden = []string{"pods"}
	page = w.page(t, "shop")
	if len(page.Denials) != 0 || len(page.Notes) != 1 || len(page.Objects) != 9 {
		t.Errorf("without pods: %d objects, %d denials, notes %q", len(page.Objects), len(page.Denials), page.Notes)
	}
	w.forbidden = []string{"namespaces", "pods", "services"}
	for _, k := range kinds.Configuration() {
		w.forbidden = append(w.forbidden, k.Definition())
	}
	_, err := Policies(t.Context(), w.sources(t), Query{Namespace: "shop", Window: time.Minute})
	if !apierrors.IsForbidden(err) {
		t.Errorf("without any right: %v", err)
	}
}

// TestPoliciesOfSomeNamespaces: a viewer of one namespace sees its objects, clients and pods on the page about all.
func TestPoliciesOfSomeNamespaces(t *testing.T) {
	w := policyWorld{manifests: shopPolicies, series: shopDecisions()}
	want := w.page(t, "shop")
	limited := w
	limited.forbidden = []string{"pods/", "pods/far"}
	for _, k := range kinds.Configuration() {
		limited.forbidden = append(limited.forbidden, k.Definition()+"/", k.Definition()+"/far")
	}
	s := limited.sources(t)
	s.Objects = w // the lister of viz/rights lists the same namespaces
	s.Scope = func(context.Context) ([]string, error) { return []string{"shop"}, nil }
	got, err := Policies(t.Context(), s, Query{Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Notes) != 0 || len(got.Objects) == 0 {
		t.Errorf("%d objects, notes %q", len(got.Objects), got.Notes)
	}
	for i, o := range want.Objects {
		if i >= len(got.Objects) || got.Objects[i].ID != o.ID || !slices.Equal(got.Objects[i].Links, o.Links) {
			t.Errorf("object %d is not %s with the links %v", i, o.ID, o.Links)
		}
	}
	if len(got.Denials) == 0 {
		t.Error("no denials")
	}
	s.Scope = func(context.Context) ([]string, error) { return nil, errors.New("too many") }
	if _, err := Policies(t.Context(), s, Query{Window: time.Minute}); err == nil || err.Error() != "too many" {
		t.Errorf("error %v", err)
	}
}

func TestPoliciesOfANamespaceThatDoesNotExist(t *testing.T) {
	_, err := Policies(t.Context(), policyWorld{}.sources(t), Query{Namespace: "shp", Window: time.Minute})
	if !errors.Is(err, resource.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if page := (policyWorld{}).page(t, "far"); len(page.Objects) != 0 || page.Denials == nil {
		t.Errorf("a namespace without policies: %+v", page)
	}
}
