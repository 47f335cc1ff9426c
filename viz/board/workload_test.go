package board

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/splits"
	"github.com/tulle-mesh/tulle/viz/statinbound"
	"github.com/tulle-mesh/tulle/viz/statoutbound"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// shopConfiguration is a configuration with a split of the Service api, and an authorization of its pods.
type shopConfiguration struct{}

// Inbound implements Configuration.
func (shopConfiguration) Inbound(pod *corev1.Pod) *mesh.Inbound {
	if pod.Name != "api-1" {
		return nil
	}
	return &mesh.Inbound{Ports: map[uint16]mesh.PortPolicy{80: {Server: mesh.Ref{Namespace: "shop", Name: "http"},
		Authorizations: []mesh.Authorization{{Ref: mesh.Ref{Kind: "AuthorizationPolicy", Name: "admins"}}}}}}
}

// Ports implements Configuration.
func (shopConfiguration) Ports(namespace, service string) []*mesh.Outbound {
	to := func(name string, weight uint32, invalid string) mesh.WeightedBackend {
		return mesh.WeightedBackend{Service: mesh.ServiceRef{Namespace: "shop", Name: name, Port: 80}, Weight: weight,
			Invalid: invalid}
	}
	if namespace != "shop" || service != "api" {
		return nil
	}
	end := func(kind, name, pod string, id mesh.ID) mesh.Endpoint {
		return mesh.Endpoint{Identity: id, Pod: mesh.PodRef{Namespace: "shop", Name: pod, OwnerKind: kind, OwnerName: name}}
	}
	return []*mesh.Outbound{{Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: "shop", Name: "api", Port: 80},
		Endpoints: []mesh.Endpoint{
			end("deployment", "api", "api-1", mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "api"}),
			end("deployment", "plain", "plain-1", mesh.ID{})},
		Routes: []mesh.Route{{Ref: mesh.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "split"},
			Rules: []mesh.Rule{{Backends: []mesh.WeightedBackend{to("api-v1", 90, ""), to("api-v2", 10, ""),
				to("api-v3", 0, "Service api-v3 does not exist")}}}}}}}
}

// Routes implements Configuration.
func (shopConfiguration) Routes(_, service string) []explain.ServiceRoute {
	if service != "api" {
		return nil
	}
	return []explain.ServiceRoute{{Authority: "api.shop.svc.cluster.local:80", Name: "split"},
		{Authority: "api.shop.svc.cluster.local:80", Name: "unused"}}
}

// routeSeries are the requests of web to the Service api, under an HTTPRoute with two backends, and to the Service db,
// under a ServiceProfile.
const routeSeries = `
outbound_http_route_request_statuses_total{WEB,API,http_status="200"} 54
outbound_http_route_request_statuses_total{WEB,API,http_status="500"} 3
outbound_http_route_request_statuses_total{WEB,API,error="REQUEST_TIMEOUT"} 3
outbound_http_route_retry_requests_total{WEB,API} 12
outbound_http_route_backend_response_statuses_total{WEB,API,BACKEND="api-v1",http_status="200"} 54
outbound_http_route_backend_response_statuses_total{WEB,API,BACKEND="api-v1",http_status="500"} 6
outbound_http_route_backend_response_statuses_total{WEB,API,BACKEND="api-v2",http_status="500"} 12
route_response_total{direction="outbound",WEB,dst="api.shop.svc.cluster.local:80",rt_route="split",classification="success"} 54
route_response_total{direction="outbound",WEB,dst="api.shop.svc.cluster.local:80",rt_route="split",classification="failure"} 6
route_actual_response_total{direction="outbound",WEB,dst="api.shop.svc.cluster.local:80",rt_route="split",classification="success"} 54
route_actual_response_total{direction="outbound",WEB,dst="api.shop.svc.cluster.local:80",rt_route="split",classification="failure"} 18
outbound_http_route_request_statuses_total{WEB,DB,http_status="200"} 60
outbound_http_route_backend_response_statuses_total{WEB,DB,backend_namespace="data",backend_name="db",backend_port="5432",http_status="200"} 60
route_response_total{direction="outbound",WEB,dst="db.data.svc.cluster.local:5432",rt_route="GET /rows",classification="success"} 40
route_response_total{direction="outbound",WEB,dst="db.data.svc.cluster.local:5432",classification="success"} 20
`

// policySeries are decisions at the pods of api.
const policySeries = `
response_total{direction="inbound",SERVER,client_id="x",authz_kind="authorizationpolicy",authz_name="web",route_name="default",classification="success"} 60
inbound_http_authz_deny_total{direction="inbound",SERVER,tls="true",client_id="spiffe://cluster.local/ns/far/sa/batch",reason="denied"} 30
inbound_http_authz_deny_total{direction="inbound",SERVER,tls="true",client_id="spiffe://cluster.local/ns/shop/sa/web",reason="denied"} 6
inbound_http_authz_deny_total{direction="inbound",SERVER,overflow="true",reason="denied"} 3
inbound_tcp_authz_deny_total{direction="inbound",SERVER,tls="no_identity",reason="denied"} 12
control_identity_cert_expiration_timestamp_seconds{namespace="shop",deployment="api",pod="api-1"} 1900000000
`

// shopSeries is graphSeries with routes and policies.
func shopSeries() string {
	names := strings.NewReplacer(
		"WEB", `namespace="shop",deployment="web",pod="web-1"`,
		"API", `parent_kind="Service",parent_namespace="shop",parent_name="api",parent_port="80",route_kind="HTTPRoute",`+
			`route_name="split"`,
		"DB", `parent_kind="Service",parent_namespace="data",parent_name="db",parent_port="5432"`,
		"BACKEND", `backend_namespace="shop",backend_port="80",backend_name`,
		"SERVER", `namespace="shop",deployment="api",pod="api-1",srv_kind="server",srv_name="http"`)
	return graphSeries() + names.Replace(routeSeries+policySeries)
}

func shopSources(t *testing.T, cluster graphCluster) Sources {
	t.Helper()
	s := graphSources(t, cluster, shopSeries())
	s.Configuration = func(context.Context, string) (Configuration, error) { return shopConfiguration{}, nil }
	return s
}

func workloadPageOf(t *testing.T, s Sources, name string) WorkloadPage {
	t.Helper()
	page, err := Workload(t.Context(), s, Query{Namespace: "shop", Kind: "deploy", Name: name, Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestWorkloadEqualsStat(t *testing.T) {
	s := shopSources(t, graphShop())
	page := workloadPageOf(t, s, "api")
	ref := Ref{"deployment", "shop", "api"}
	compareNumbers(t, "tulle viz stat deploy/api", page.Golden, &page.TCP.Open, statRow(t, s, ref, nil))
	if page.Meshed != 1 || page.Pods != 1 || page.Ref != ref {
		t.Errorf("page of %v with %d of %d pods", page.Ref, page.Meshed, page.Pods)
	}
	var got []string
	for _, p := range page.Callers {
		got = append(got, fmt.Sprintf("from %s %.1frps %s", topologyID(p.Ref), p.RPS, p.Security))
	}
	for _, p := range page.Callees {
		got = append(got, fmt.Sprintf("to %s %.1frps %s", topologyID(p.Ref), p.RPS, p.Security))
	}
	want := []string{"from deployment/shop/web 1.0rps mtls", "from identity/far/batch 0.2rps mtls",
		"to statefulset/data/db 2.0rps mtls", "to external//198.51.100.7:443 0.1rps external"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

// routeLines writes routes as text.
func routeLines(rows []splits.Row) (out []string) {
	text := func(share *float64) string {
		if share == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f", *share)
	}
	for _, r := range rows {
		actual := "-"
		if r.Actual != nil {
			actual = fmt.Sprintf("%.2f at %.1frps", r.Actual.Success, r.Actual.RPS)
		}
		out = append(out, fmt.Sprintf("%s:%s %s %q: %s at %.1frps, actual %s, retries %s, timeouts %s", r.Service, r.Port,
			r.Kind, r.Route, text(r.Success), r.RPS, actual, text(r.Retries), text(r.Timeouts)))
		for _, b := range r.Backends {
			out = append(out, strings.TrimSpace(fmt.Sprintf("  %s: %s of %s, success %s %s", b.Service, text(b.Share),
				text(b.Expected), text(b.Success), b.Invalid)))
		}
	}
	return out
}

func TestWorkloadShowsRoutesWithWhatTheirWeightsAskFor(t *testing.T) {
	page := workloadPageOf(t, shopSources(t, graphShop()), "web")
	want := []string{
		`db:5432 ServiceProfile "": 1.00 at 1.0rps, actual -, retries 0.00, timeouts 0.00`,
		"db: 1.00 of -, success 1.00",
		`db:5432 ServiceProfile "GET /rows": 1.00 at 0.7rps, actual -, retries -, timeouts -`,
		`db:5432 ServiceProfile "[DEFAULT]": 1.00 at 0.3rps, actual -, retries -, timeouts -`,
		`api:80 HTTPRoute "split": 0.90 at 1.0rps, actual 0.75 at 1.2rps, retries 0.17, timeouts 0.05`,
		"api-v1: 0.83 of 0.90, success 0.90",
		"api-v2: 0.17 of 0.10, success 0.00",
		"api-v3: - of 0.00, success - Service api-v3 does not exist",
	}
	if diff := cmp.Diff(want, routeLines(page.Routes)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestWorkloadSectionsEqualCommands compares the numbers of the sections with the commands that they name.
func TestWorkloadSectionsEqualCommands(t *testing.T) {
	s := shopSources(t, graphShop())
	request := func(name string) subject.Request {
		targets, err := resource.Parse([]string{"deploy", name})
		if err != nil {
			t.Fatal(err)
		}
		return subject.Request{Targets: targets, Namespace: "shop", Window: time.Minute}
	}
	outbound, err := statoutbound.Rows(t.Context(), s.Numbers, s.Objects, request("web"))
	if err != nil {
		t.Fatal(err)
	}
	routes := slices.DeleteFunc(workloadPageOf(t, s, "web").Routes, func(r splits.Row) bool { return r.Retries == nil })
	if len(routes) != len(outbound.Rows) || len(routes) == 0 {
		t.Fatalf("%d routes, and stat-outbound has %d", len(routes), len(outbound.Rows))
	}
	for _, r := range routes {
		i := slices.IndexFunc(outbound.Rows, func(o statoutbound.Row) bool { return o.Service.Name == r.Service })
		if diff := cmp.Diff(newGolden(&outbound.Rows[i].Stats), r.Numbers); diff != "" {
			t.Errorf("%s of %s (-command +page):\n%s", r.Command, r.Service, diff)
		}
	}
	inbound, err := statinbound.Rows(t.Context(), s.Numbers, s.Objects, request("api"))
	if err != nil {
		t.Fatal(err)
	}
	page := workloadPageOf(t, s, "api")
	if len(page.Inbound) != len(inbound.Rows) || len(page.Inbound) == 0 {
		t.Fatalf("%d inbound rows, and stat-inbound has %d", len(page.Inbound), len(inbound.Rows))
	}
	for i, r := range inbound.Rows {
		if diff := cmp.Diff(newGolden(&r.Stats), page.Inbound[i].Golden); diff != "" {
			t.Errorf("%s (-command +page):\n%s", page.Commands["inbound"], diff)
		}
	}
}

func TestWorkloadShowsWhomPolicyDenied(t *testing.T) {
	hidden := graphShop()
	hidden.forbidden = []string{"far"}
	for name, tt := range map[string]struct {
		cluster graphCluster
		first   string
	}{
		"with the right to see the client":    {graphShop(), "http batch.far false denied 0.5 false"},
		"without the right to see the client": {hidden, "http  true denied 0.5 false"},
	} {
		page := workloadPageOf(t, shopSources(t, tt.cluster), "api")
		var got []string
		for _, d := range page.Denials {
			line := fmt.Sprintf("%s %s %v %s %.1f %v", d.Server, d.Client, d.Hidden, d.Reason, d.RPS, d.Connections)
			if d.Overflow {
				line += " others"
			}
			got = append(got, line)
		}
		want := []string{tt.first, "http  false denied 0.2 true", "http web.shop false denied 0.1 false",
			"http  false denied 0.1 false others"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: denials (-want +got):\n%s", name, diff)
		}
	}
	page := workloadPageOf(t, shopSources(t, graphShop()), "api")
	var got []string
	for _, a := range page.Authorizations {
		got = append(got, fmt.Sprintf("%s %s denied %.1f, %.1frps", a.Server, a.Authorization, a.Denied, a.RPS))
	}
	want := []string{"http  denied 0.7, 0.0rps", "http authorizationpolicy/admins denied 0.0, 0.0rps",
		"http authorizationpolicy/web denied 0.0, 1.0rps"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("authorizations (-want +got):\n%s", diff)
	}
}

func TestWorkloadShowsPodsWithTheEndsOfTheirCertificates(t *testing.T) {
	page := workloadPageOf(t, shopSources(t, graphShop()), "api")
	if len(page.PodRows) != 1 || page.PodRows[0].Name != "api-1" || page.PodRows[0].ServiceAccount != "api" ||
		page.PodRows[0].CertificateEnd == nil || !page.PodRows[0].CertificateEnd.Equal(time.Unix(1900000000, 0)) {
		t.Errorf("pods %+v", page.PodRows)
	}
}

// oldSource is a metrics-api of an older version.
type oldSource struct{ metrics.Source }

// Ask implements metrics.Source.
func (o oldSource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	for _, q := range queries {
		if q.Metric == metrics.CertificateExpiration {
			return metrics.Answer{}, errors.New("no such metric")
		}
	}
	return o.Source.Ask(ctx, window, queries)
}

func TestWorkloadGoesOnWithoutTheEndsOfCertificates(t *testing.T) {
	s := shopSources(t, graphShop())
	s.Numbers = oldSource{s.Numbers}
	page := workloadPageOf(t, s, "api")
	want := []string{"The ends of certificates are not shown: no such metric"}
	if diff := cmp.Diff(want, page.Notes); diff != "" || page.Success == nil || page.PodRows[0].CertificateEnd != nil {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestWorkloadWithoutConfigurationSaysWhatIsMissing(t *testing.T) {
	s := shopSources(t, graphShop())
	s.Configuration = func(context.Context, string) (Configuration, error) { return nil, errors.New("no right") }
	page := workloadPageOf(t, s, "api")
	want := []string{"Authorizations without requests are not shown: no right",
		"The shares that weights ask for are not shown: no right"}
	slices.Sort(page.Notes)
	if diff := cmp.Diff(want, page.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestWorkloadRefuses(t *testing.T) {
	forbidden := graphShop()
	forbidden.forbidden = []string{"shop"}
	for name, tt := range map[string]struct {
		cluster graphCluster
		q       Query
		code    string
	}{
		"a Service":       {graphShop(), Query{Namespace: "shop", Kind: "svc", Name: "api"}, BadRequest},
		"no name":         {graphShop(), Query{Namespace: "shop", Kind: "deploy"}, BadRequest},
		"no namespace":    {graphShop(), Query{Kind: "deploy", Name: "api"}, BadRequest},
		"another name":    {graphShop(), Query{Namespace: "shop", Kind: "deploy", Name: "apy"}, NotFound},
		"another kind":    {graphShop(), Query{Namespace: "shop", Kind: "sts", Name: "api"}, NotFound},
		"without a right": {forbidden, Query{Namespace: "shop", Kind: "deploy", Name: "api"}, Forbidden},
	} {
		tt.q.Window = time.Minute
		_, err := Workload(t.Context(), shopSources(t, tt.cluster), tt.q)
		if err == nil || Refuse(err).Code != tt.code {
			t.Errorf("%s: error %v; want %s", name, err, tt.code)
		}
	}
}

// countingSource counts the questions.
type countingSource struct {
	metrics.Source
	mu    sync.Mutex // guards asked
	asked []time.Duration
}

// Ask implements metrics.Source.
func (c *countingSource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer,
	error) {
	c.mu.Lock()
	c.asked = append(c.asked, window)
	c.mu.Unlock()
	return c.Source.Ask(ctx, window, queries)
}

// TestWorkloadAsksAtOnce bounds the questions for a window: without a Prometheus each takes as long as the window.
func TestWorkloadAsksAtOnce(t *testing.T) {
	s := shopSources(t, graphShop())
	counted := &countingSource{Source: s.Numbers}
	s.Numbers = counted
	workloadPageOf(t, s, "api")
	// Three windows at first. The answers for two of them lead to one question more each.
	if n := len(counted.asked); n > 5 {
		t.Errorf("%d questions, for the windows %v; want at most 5", n, counted.asked)
	}
}

func TestTogetherReturnsWhatFails(t *testing.T) {
	s := shopSources(t, graphShop())
	ask := func(ctx context.Context, s Sources) ([]string, error) {
		_, err := s.Numbers.Ask(ctx, time.Minute, []metrics.Query{{Metric: metrics.RequestTotal}})
		return []string{"note"}, err
	}
	if notes, err := runParts(t.Context(), s, ask, ask); err != nil || len(notes) != 1 {
		t.Errorf("two parts with one note: %q, %v", notes, err)
	}
	failed := errors.New("failed")
	fail := func(context.Context, Sources) ([]string, error) { return nil, failed }
	if _, err := runParts(t.Context(), s, ask, fail, ask); !errors.Is(err, failed) {
		t.Errorf("error %v; want %v", err, failed)
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic of a part is lost")
		}
	}()
	_, _ = runParts(t.Context(), s, ask, func(context.Context, Sources) ([]string, error) { panic("mistake") })
}
