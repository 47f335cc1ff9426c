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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/stat"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// cast is a lister of namespaces with their pods. Each pod is a Deployment of its own.
type cast struct {
	namespaces []resource.Object
	// forbidden are kinds that the viewer may not list.
	forbidden []string
}

// List implements resource.Lister.
func (c cast) List(_ context.Context, k resource.Kind, namespace, _ string) (out []resource.Object, err error) {
	if slices.Contains(c.forbidden, k.Name) {
		err := apierrors.NewForbidden(schema.GroupResource{Resource: k.Plural}, "", errors.New("no right"))
		return nil, fmt.Errorf("list %s: %w", k.Plural, err)
	}
	for _, ns := range c.namespaces {
		if namespace != "" && namespace != ns.Name {
			ns.Pods = nil
		}
		switch k.Name {
		case resource.Namespace:
			out = append(out, ns)
		case "deployment":
			for _, p := range ns.Pods {
				out = append(out, resource.Object{Namespace: ns.Name, Name: p.Name, Pods: []resource.Pod{p}})
			}
		}
	}
	return out, nil
}

// overviewSources are a mesh in which each kind of problem is once.
func overviewSources(t *testing.T) Sources {
	t.Helper()
	meshed := func(name string) resource.Pod {
		return resource.Pod{Name: name, Meshed: true, Version: "v2", Running: true}
	}
	old := meshed("old")
	old.Version = "v1"
	bare := resource.Pod{Name: "bare"}
	source, err := metricstest.New(
		served("bad", `deployment="api"`, `tls="true"`, 90, 10) +
			served("shop", `deployment="web"`, `tls="true"`, 59, 1) +
			served("good", `deployment="api"`, `tls="true"`, 120, 0) +
			served("mixed", `deployment="old"`, `tls="true"`, 60, 0) +
			`inbound_http_authz_deny_total{direction="inbound",namespace="good",srv_kind="server",srv_name="http"} 30
inbound_http_authz_deny_total{direction="inbound",namespace="good",srv_kind="default",srv_name="deny"} 60
`)
	if err != nil {
		t.Fatal(err)
	}
	return Sources{Numbers: source, Version: "v2", Objects: cast{namespaces: []resource.Object{
		{Name: "idle", Pods: []resource.Pod{meshed("sleeper")}},
		{Name: "bad", Pods: []resource.Pod{meshed("api")}},
		{Name: "good", Pods: []resource.Pod{meshed("api")}},
		{Name: "shop", Inject: "enabled", Pods: []resource.Pod{meshed("web"), bare, {Name: "batch", Finished: true},
			{Name: "host", Inject: "disabled"}}},
		{Name: "mixed", Pods: []resource.Pod{old, {Name: "asks", Inject: "enabled"}}},
		{Name: "kube-system", Pods: []resource.Pod{bare}},
	}}}
}

func overviewOf(t *testing.T, s Sources, namespace string) OverviewPage {
	t.Helper()
	page, err := Overview(t.Context(), s, Query{Namespace: namespace, Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestOverviewShowsWhatIsWrongWorstFirst(t *testing.T) {
	page := overviewOf(t, overviewSources(t), "")
	var got []string
	for _, r := range page.Namespaces {
		got = append(got, fmt.Sprintf("%s %s %d/%d denied %.1f", r.Name, r.State, r.Meshed, r.Pods, *r.Denied))
	}
	want := []string{"bad error 1/1 denied 0.0", "shop warning 1/3 denied 0.0", "good warning 1/1 denied 1.5",
		"mixed warning 1/2 denied 0.0", "idle quiet 1/1 denied 0.0", "kube-system unmeshed 0/1 denied 0.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	got = nil
	for _, p := range page.Problems {
		line := strings.Join([]string{p.Severity, p.Ref.Name, p.Text, p.Command}, " | ")
		if p.Page != "" {
			line += " | " + p.Page
		}
		got = append(got, line)
	}
	want = []string{
		"error | bad | 10.00% of the requests to bad fail, at 1.7 rps. | tulle viz stat deploy -n bad -t 1m",
		"warning | shop | 1.67% of the requests to shop fail, at 1.0 rps. | tulle viz stat deploy -n shop -t 1m",
		"warning | good | Policy denies 1.0 rps in namespace good, at ports without a Server, whose default is deny. | " +
			"tulle viz authz ns/good -t 1m | policies",
		"warning | good | Policy denies 0.5 rps at Server http in namespace good. | tulle viz authz ns/good -t 1m | policies",
		"warning | shop | 1 pod in namespace shop should have a proxy and has none. | tulle viz list -n shop",
		"warning | mixed | 1 pod in namespace mixed should have a proxy and has none. | tulle viz list -n mixed",
		"warning | mixed | 1 pod in namespace mixed: the proxy version differs from the control plane's, v2. | " +
			"tulle viz stat pods -n mixed --proxy-version-mismatch",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestOverviewOfANamespaceShowsItsWorkloads(t *testing.T) {
	page := overviewOf(t, overviewSources(t), "shop")
	var got []string
	for _, r := range page.Workloads {
		got = append(got, fmt.Sprintf("%s/%s %s", r.Kind, r.Name, r.State))
	}
	want := []string{"deployment/web warning", "deployment/bare unmeshed", "deployment/batch unmeshed",
		"deployment/host unmeshed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	if len(page.Namespaces) != 1 || page.Namespaces[0].State != SeverityWarning || len(page.Problems) != 2 ||
		*page.Problems[0].Ref != (Ref{"deployment", "shop", "web"}) {
		t.Errorf("page %+v", page)
	}
}

func TestOverviewEqualsStat(t *testing.T) {
	s := overviewSources(t)
	targets, err := resource.Parse([]string{"ns"})
	if err != nil {
		t.Fatal(err)
	}
	result, err := stat.Rows(t.Context(), s.Numbers, s.Objects, stat.Request{Unmeshed: true,
		Request: subject.Request{Targets: targets, Window: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	page := overviewOf(t, s, "")
	if len(page.Namespaces) != len(result.Rows) {
		t.Fatalf("%d namespaces, and stat has %d", len(page.Namespaces), len(result.Rows))
	}
	for _, row := range result.Rows {
		i := slices.IndexFunc(page.Namespaces, func(r OverviewRow) bool { return r.Name == row.Name })
		if got := page.Namespaces[i]; got.Meshed != row.Meshed || got.Pods != row.Total {
			t.Errorf("%s: %d of %d pods, and stat has %d of %d", row.Name, got.Meshed, got.Pods, row.Meshed, row.Total)
		}
		var open *uint64
		if row.TCP != nil {
			open = &row.TCP.Open
		}
		compareNumbers(t, "tulle viz stat ns/"+row.Name, page.Namespaces[i].Golden, open, row)
	}
}

func TestOverviewWithoutTheRightToListNamespaces(t *testing.T) {
	s := overviewSources(t)
	c := s.Objects.(cast)
	c.forbidden = []string{"namespace"}
	s.Objects = c
	if _, err := Overview(t.Context(), s, Query{Window: time.Minute}); !apierrors.IsForbidden(err) {
		t.Errorf("all namespaces: %v", err)
	}
	page := overviewOf(t, s, "shop")
	if len(page.Workloads) != 4 || len(page.Namespaces) != 0 || len(page.Notes) == 0 {
		t.Errorf("page of a namespace %+v", page)
	}
	c.forbidden = []string{"namespace", "deployment", "statefulset", "daemonset", "cronjob"}
	s.Objects = c
	if _, err := Overview(t.Context(), s, Query{Namespace: "shop", Window: time.Minute}); !apierrors.IsForbidden(err) {
		t.Errorf("a namespace in which the viewer may list nothing: %v", err)
	}
}

// panickingSource panics in whatever goroutine asks it.
type panickingSource struct{}

// Ask implements metrics.Source.
func (panickingSource) Ask(context.Context, time.Duration, []metrics.Query) (metrics.Answer, error) {
	panic("mistake")
}

// TestAPanicStaysInItsPage: it must not end the server, which recovers what a page panics with.
func TestAPanicStaysInItsPage(t *testing.T) {
	s := overviewSources(t)
	s.Numbers = panickingSource{}
	q := Query{Namespace: "shop", Kind: "deploy", Name: "web", Window: time.Minute}
	for name, build := range map[string]func() error{
		"Overview": func() (err error) { _, err = Overview(t.Context(), s, q); return },
		"Policies": func() (err error) { _, err = Policies(t.Context(), s, q); return },
		"Workload": func() (err error) { _, err = Workload(t.Context(), s, q); return },
	} {
		err := errors.New("not called")
		func() {
			defer func() {
				if panicked := recover(); panicked != nil {
					err = fmt.Errorf("%v", panicked)
				}
			}()
			err = build()
		}()
		if err == nil || !strings.Contains(err.Error(), "mistake") {
			t.Errorf("%s: the panic is lost: %v", name, err)
		}
	}
}
