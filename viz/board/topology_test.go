package board

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/viz/edges"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricstest"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/stat"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// graphCluster is a lister of workloads that each have one pod.
type graphCluster struct {
	workloads []Ref
	unmeshed  []Ref
	// forbidden are namespaces in which the viewer may list nothing; "" is all of them at once.
	forbidden []string
}

// List implements resource.Lister.
func (c graphCluster) List(_ context.Context, k resource.Kind, namespace, _ string) (out []resource.Object, err error) {
	if slices.Contains(c.forbidden, namespace) {
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: k.Plural}, "", errors.New("no right"))
	}
	for _, w := range c.workloads {
		pod := resource.Pod{Name: w.Name + "-1", ServiceAccount: w.Name, Meshed: !slices.Contains(c.unmeshed, w),
			Running: true}
		o := resource.Object{Namespace: w.Namespace, Name: w.Name, Pods: []resource.Pod{pod}}
		switch k.Name {
		case resource.Namespace:
			if !slices.ContainsFunc(out, func(n resource.Object) bool { return n.Name == w.Namespace }) {
				out = append(out, resource.Object{Name: w.Namespace})
			}
		case "pod":
			o.Name = pod.Name
		}
		if (k.Name == w.Kind || k.Name == "pod") && (namespace == "" || namespace == w.Namespace) {
			out = append(out, o)
		}
	}
	return out, nil
}

// graphShop is web, which calls api, a database in another namespace, plain without a proxy, and addresses outside.
func graphShop() graphCluster {
	plain := Ref{"deployment", "shop", "plain"}
	return graphCluster{unmeshed: []Ref{plain}, workloads: []Ref{plain, {"deployment", "shop", "web"},
		{"deployment", "shop", "api"}, {"deployment", "shop", "idle"}, {"statefulset", "data", "db"}}}
}

// sent returns the outbound series of one client and one server.
func sent(namespace, client, dst, labels string, success, failure int) string {
	l := fmt.Sprintf(`direction="outbound",namespace=%q,deployment=%q,pod="%s-1",%s,%s`, namespace, client, client, dst,
		labels)
	all := success + failure
	return fmt.Sprintf(`response_total{%[1]s,classification="success"} %[2]d
response_total{%[1]s,classification="failure"} %[3]d
response_latency_ms_bucket{%[1]s,le="10"} %[4]d
response_latency_ms_bucket{%[1]s,le="100"} %[5]d
response_latency_ms_bucket{%[1]s,le="+Inf"} %[5]d
tcp_open_total{%[1]s,peer="dst"} 5
tcp_open_connections{%[1]s,peer="dst"} 2
tcp_read_bytes_total{%[1]s,peer="dst"} 600
tcp_write_bytes_total{%[1]s,peer="dst"} 1200
`, l, success, failure, all*9/10, all)
}

// served returns the inbound series of one server and one client.
func served(namespace, server, labels string, success, failure int) string {
	l := fmt.Sprintf(`direction="inbound",namespace=%q,%s,%s`, namespace, server, labels)
	return fmt.Sprintf(`response_total{%[1]s,classification="success"} %[2]d
response_total{%[1]s,classification="failure"} %[3]d
response_latency_ms_bucket{%[1]s,le="10"} %[4]d
response_latency_ms_bucket{%[1]s,le="+Inf"} %[4]d
request_total{%[1]s} %[4]d
tcp_open_connections{%[1]s,peer="src"} 3
`, l, success, failure, success+failure)
}

func mTLS(side, namespace, account string) string {
	return fmt.Sprintf(`tls="true",%s_id="spiffe://cluster.local/ns/%s/sa/%s"`, side, namespace, account)
}

const (
	noProxyAtServer = `tls="no_identity",no_tls_reason="not_provided_by_service_discovery"`
	noProxyAtClient = `tls="no_identity",no_tls_reason="no_tls_from_remote"`
)

// graphSeries is one minute of the shop's traffic.
func graphSeries() string {
	return sent("shop", "web", `dst_namespace="shop",dst_deployment="api"`, mTLS("server", "shop", "api"), 57, 3) +
		sent("shop", "web", `dst_namespace="shop",dst_deployment="plain"`, noProxyAtServer, 30, 0) +
		sent("shop", "api", `dst_namespace="data",dst_statefulset="db"`, mTLS("server", "data", "db"), 120, 0) +
		sent("shop", "api", `target_addr="198.51.100.7:443"`, noProxyAtServer, 6, 0) +
		served("shop", `deployment="web"`, noProxyAtClient, 600, 0) +
		served("shop", `deployment="web"`, noProxyAtClient+`,authz_name="probe"`, 6, 0) +
		served("shop", `deployment="api"`, mTLS("client", "shop", "web"), 57, 3) +
		served("data", `statefulset="db"`, mTLS("client", "shop", "api"), 120, 0) +
		served("shop", `deployment="api"`, mTLS("client", "far", "batch"), 12, 0)
}

func graphSources(t *testing.T, cluster graphCluster, series string) Sources {
	t.Helper()
	source, err := metricstest.New(series)
	if err != nil {
		t.Fatal(err)
	}
	return Sources{Numbers: source, Objects: cluster}
}

// topologyOf builds a page whose link has the parameters.
func topologyOf(t *testing.T, s Sources, link string) TopologyPage {
	t.Helper()
	page, err := Topology(t.Context(), s, topologyQuery(t, link))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func topologyQuery(t *testing.T, link string) Query {
	t.Helper()
	params, err := url.ParseQuery(link)
	if err != nil {
		t.Fatal(err)
	}
	return Query{Namespace: params.Get("namespace"), Kind: params.Get("kind"), Name: params.Get("name"),
		Window: time.Minute, Params: params}
}

// lines writes a page as text: a line for each node and edge.
func lines(p TopologyPage) (out []string) {
	for _, n := range p.Nodes {
		out = append(out, fmt.Sprintf("%s %d/%d %.1frps", n.ID, n.Meshed, n.Pods, n.RPS))
	}
	for _, e := range p.Edges {
		out = append(out, fmt.Sprintf("%s %s %.1frps", e.ID, e.Security, e.RPS))
	}
	return out
}

func TestTopologyShowsTheScope(t *testing.T) {
	hidden := graphShop()
	hidden.forbidden = []string{"", "data", "far"}
	batch := "identity/far/batch>deployment/shop/api mtls 0.2rps"
	for name, tt := range map[string]struct {
		cluster graphCluster
		link    string
		want    []string
	}{
		"a namespace": {graphShop(), "namespace=shop", []string{
			"deployment/shop/api 1/1 1.2rps", "deployment/shop/idle 1/1 0.0rps", "deployment/shop/plain 0/1 0.0rps",
			"deployment/shop/web 1/1 10.1rps", "external//198.51.100.7:443 0/0 0.0rps", "identity/far/batch 0/0 0.0rps",
			"statefulset/data/db 1/1 0.0rps", "unmeshed// 0/0 0.0rps",
			"deployment/shop/api>external//198.51.100.7:443 external 0.1rps",
			"deployment/shop/api>statefulset/data/db mtls 2.0rps", "deployment/shop/web>deployment/shop/api mtls 1.0rps",
			"deployment/shop/web>deployment/shop/plain plaintext 0.5rps", batch,
			"unmeshed//>deployment/shop/web plaintext 10.0rps"}},
		"a namespace with neighbours that may not be read": {hidden, "namespace=shop", []string{
			"deployment/shop/api 1/1 1.2rps", "deployment/shop/idle 1/1 0.0rps", "deployment/shop/plain 0/1 0.0rps",
			"deployment/shop/web 1/1 10.1rps", "external//198.51.100.7:443 0/0 0.0rps", "hidden// 0/0 0.0rps",
			"unmeshed// 0/0 0.0rps",
			"deployment/shop/api>external//198.51.100.7:443 external 0.1rps",
			"deployment/shop/api>hidden// mtls 2.0rps", "deployment/shop/web>deployment/shop/api mtls 1.0rps",
			"deployment/shop/web>deployment/shop/plain plaintext 0.5rps", "hidden//>deployment/shop/api mtls 0.0rps",
			"unmeshed//>deployment/shop/web plaintext 10.0rps"}},
		"neighbours": {graphShop(), "namespace=shop&kind=deploy&name=api", []string{
			"deployment/shop/api 1/1 1.2rps", "deployment/shop/web 1/1 10.1rps", "external//198.51.100.7:443 0/0 0.0rps",
			"identity/far/batch 0/0 0.0rps", "statefulset/data/db 1/1 0.0rps",
			"deployment/shop/api>external//198.51.100.7:443 external 0.1rps",
			"deployment/shop/api>statefulset/data/db mtls 2.0rps", "deployment/shop/web>deployment/shop/api mtls 1.0rps",
			batch}},
		"all namespaces": {graphShop(), "", []string{
			"external//198.51.100.7:443 0/0 0.0rps", "identity/far/batch 0/0 0.0rps", "namespace//data 1/1 2.0rps",
			"namespace//shop 3/4 11.3rps", "unmeshed// 0/0 0.0rps", "identity/far/batch>namespace//shop mtls 0.2rps",
			"namespace//shop>external//198.51.100.7:443 external 0.1rps", "namespace//shop>namespace//data mtls 2.0rps",
			"namespace//shop>namespace//shop mixed 1.5rps", "unmeshed//>namespace//shop plaintext 10.0rps"}},
		"one of all expanded": {graphShop(), "expand=data", []string{
			"external//198.51.100.7:443 0/0 0.0rps", "identity/far/batch 0/0 0.0rps", "namespace//shop 3/4 11.3rps",
			"statefulset/data/db 1/1 2.0rps", "unmeshed// 0/0 0.0rps", "identity/far/batch>namespace//shop mtls 0.2rps",
			"namespace//shop>external//198.51.100.7:443 external 0.1rps", "namespace//shop>namespace//shop mixed 1.5rps",
			"namespace//shop>statefulset/data/db mtls 2.0rps", "unmeshed//>namespace//shop plaintext 10.0rps"}},
		"several, one collapsed": {graphShop(), "namespace=data&with=shop&collapse=shop", []string{
			"external//198.51.100.7:443 0/0 0.0rps", "identity/far/batch 0/0 0.0rps", "namespace//shop 3/4 11.3rps",
			"statefulset/data/db 1/1 2.0rps", "unmeshed// 0/0 0.0rps", "identity/far/batch>namespace//shop mtls 0.2rps",
			"namespace//shop>external//198.51.100.7:443 external 0.1rps", "namespace//shop>namespace//shop mixed 1.5rps",
			"namespace//shop>statefulset/data/db mtls 2.0rps", "unmeshed//>namespace//shop plaintext 10.0rps"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := lines(topologyOf(t, graphSources(t, tt.cluster, graphSeries()), tt.link))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTopologyEqualsCommands holds every number of the page against `tulle viz stat`, and the links against
// `tulle viz edges`.
func TestTopologyEqualsCommands(t *testing.T) {
	s := graphSources(t, graphShop(), graphSeries())
	for _, link := range []string{"namespace=shop", "namespace=shop&with=data", "", "expand=shop"} {
		page := topologyOf(t, s, link)
		compared := 0
		nodes := map[string]Ref{}
		for _, n := range page.Nodes {
			nodes[n.ID] = n.Ref
			if n.NumbersKnown {
				compared++
				row := statRow(t, s, n.Ref, nil)
				compareNumbers(t, n.Command, n.Golden, n.TCPOpen, row)
			}
		}
		for _, e := range page.Edges {
			if to := nodes[e.To]; inCommands(nodes[e.From]) && inCommands(to) {
				compared++
				row := statRow(t, s, nodes[e.From], &to)
				compareNumbers(t, e.Command, e.Golden, e.TCPOpen, row)
				if row.TCP == nil || e.ReadRate != row.TCP.ReadRate || e.WriteRate != row.TCP.WriteRate {
					t.Errorf("%s: reads %v and writes %v, want %v", e.Command, e.ReadRate, e.WriteRate, row.TCP)
				}
			}
		}
		if compared < 3 {
			t.Errorf("%q: compared %d numbers", link, compared)
		}
	}
}

// statRow returns the row that `tulle viz stat` has of a node.
func statRow(t *testing.T, s Sources, of Ref, to *Ref) stat.Row {
	t.Helper()
	kind, err := resource.ParseKind(of.Kind)
	if err != nil {
		t.Fatal(err)
	}
	req := stat.Request{Request: subject.Request{Targets: []resource.Target{{Kind: kind, Names: []string{of.Name}}},
		Namespace: of.Namespace, Window: time.Minute}}
	if to != nil {
		req.To = &resource.Peer{Name: to.Name, Namespace: to.Namespace}
		if req.To.Kind, err = resource.ParseKind(to.Kind); err != nil {
			t.Fatal(err)
		}
	}
	result, err := stat.Rows(t.Context(), s.Numbers, s.Objects, req)
	if err != nil || len(result.Rows) != 1 {
		t.Fatalf("stat of %v to %v: %d rows, error %v", of, to, len(result.Rows), err)
	}
	return result.Rows[0]
}

func compareNumbers(t *testing.T, command string, got Golden, open *uint64, row stat.Row) {
	t.Helper()
	if diff := cmp.Diff(newGolden(row.Stats), got, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Errorf("%s (-stat +page):\n%s", command, diff)
	}
	var want *uint64
	if row.TCP != nil {
		want = &row.TCP.Open
	}
	if diff := cmp.Diff(want, open); diff != "" {
		t.Errorf("%s: open connections (-stat +page):\n%s", command, diff)
	}
}

func TestTopologyLinksEqualEdges(t *testing.T) {
	s := graphSources(t, graphShop(), graphSeries())
	deploy, err := resource.Parse([]string{"deploy"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := edges.Find(t.Context(), s.Numbers, s.Objects, edges.Request{Targets: deploy, Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, e := range found.Edges {
		want = append(want, strings.Join([]string{identityText(e.ClientID), identityText(e.ServerID), e.Reason}, " "))
	}
	for _, e := range topologyOf(t, s, "namespace=shop").Edges {
		for _, l := range e.Links {
			if e.Security != SecurityExternal {
				got = append(got, strings.Join([]string{l.ClientID, l.ServerID, l.Reason}, " "))
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
		t.Errorf("(-edges +page):\n%s", diff)
	}
}

// TestTopologyNamesNoHiddenNamespace holds the whole JSON of a page against the names of a namespace that the viewer
// may not read.
func TestTopologyNamesNoHiddenNamespace(t *testing.T) {
	cluster := graphShop()
	cluster.forbidden = []string{"", "data", "far"}
	page := topologyOf(t, graphSources(t, cluster, graphSeries()), "namespace=shop")
	for _, secret := range []string{"data", "db.", "far", "batch"} {
		if text := fmt.Sprintf("%+v", page); strings.Contains(text, "namespace "+secret) ||
			strings.Contains(text, "/"+secret) ||
			strings.Contains(text, ":"+secret) {
			t.Errorf("the page names %q:\n%s", secret, text)
		}
	}
	if !slices.ContainsFunc(page.Notes, func(n string) bool { return strings.Contains(n, "namespaces are not named") }) {
		t.Errorf("notes %q; want one about the missing right", page.Notes)
	}
}

func TestTopologyGroupsWhatIsTooLarge(t *testing.T) {
	var cluster graphCluster
	for i := range maxTopologyNodes + 1 {
		cluster.workloads = append(cluster.workloads, Ref{"deployment", "shop", fmt.Sprint("w", i)})
	}
	page := topologyOf(t, graphSources(t, cluster, "up 1\n"), "namespace=shop")
	if diff := cmp.Diff([]string{"namespace//shop 401/401 0.0rps"}, lines(page)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if page.Group != ByNamespace || !slices.ContainsFunc(page.Notes, func(n string) bool {
		return strings.HasPrefix(n, "401 workloads with 0 edges are too many")
	}) {
		t.Errorf("group %q, notes %q; want the namespace and why", page.Group, page.Notes)
	}
}

func TestTopologyBoundsAddresses(t *testing.T) {
	var series string
	for i := range 2 * maxExternal {
		series += sent("shop", "web", fmt.Sprintf(`target_addr="198.51.100.%d:443"`, i), noProxyAtServer, 60*(i+1), 0)
	}
	page := topologyOf(t, graphSources(t, graphShop(), series), "namespace=shop")
	external := slices.DeleteFunc(lines(page), func(l string) bool { return !strings.Contains(l, ">external") })
	if len(external) != maxExternal+1 || !strings.HasPrefix(external[0],
		"deployment/shop/web>external// external 78.0rps") {
		t.Errorf("%d edges to addresses, the first %q; want %d and one for the 12 with the fewest requests", len(external),
			external[:1], maxExternal)
	}
}

func TestTopologyRefuses(t *testing.T) {
	forbidden := graphShop()
	forbidden.forbidden = []string{"", "shop"}
	for name, tt := range map[string]struct {
		cluster    graphCluster
		link, code string
	}{
		"an unknown group":               {graphShop(), "group=colour", BadRequest},
		"neighbours of a Service":        {graphShop(), "namespace=shop&kind=svc&name=web", BadRequest},
		"neighbours without a namespace": {graphShop(), "kind=deploy&name=web", BadRequest},
		"too many namespaces":            {graphShop(), "namespace=a&with=b,c,d,e,f,g", BadRequest},
		"a workload that is not there":   {graphShop(), "namespace=shop&kind=deploy&name=wep", NotFound},
		"a namespace that is not there":  {graphShop(), "namespace=shob", NotFound},
		"a namespace without rights":     {forbidden, "namespace=shop", Forbidden},
		"all namespaces without rights":  {forbidden, "", Forbidden},
	} {
		_, err := Topology(t.Context(), graphSources(t, tt.cluster, graphSeries()), topologyQuery(t, tt.link))
		if err == nil || Refuse(err).Code != tt.code {
			t.Errorf("%s: error %v; want %s", name, err, tt.code)
		}
	}
}

// TestTopologyPromQLFindsTheNumbersOfEdges: pasted, it finds what the edge shows.
func TestTopologyPromQLFindsTheNumbersOfEdges(t *testing.T) {
	series := graphSeries() + served("shop", `deployment="web"`, `tls="false",no_tls_reason="loopback"`, 6, 0)
	for i := range maxExternal + 3 {
		series += sent("shop", "web", fmt.Sprintf(`target_addr="192.0.2.%d:443"`, i), noProxyAtServer, 60+i, 0)
	}
	page := topologyOf(t, graphSources(t, graphShop(), series), "namespace=shop")
	found := 0
	for _, e := range page.Edges {
		selector := regexp.MustCompile(`\{.*\}`).FindString(e.Command)
		if !strings.HasPrefix(e.Command, "sum by") || selector == "" || e.RPS == 0 {
			continue
		}
		found++
		var match []metrics.Match
		for _, m := range regexp.MustCompile(`(\w+)(!?=)"([^"]*)"`).FindAllStringSubmatch(selector, -1) {
			match = append(match, metrics.Match{Label: m[1], Op: metrics.Op(m[2]), Value: m[3]})
		}
		source := graphSources(t, graphShop(), series).Numbers
		answer, err := source.Ask(t.Context(), time.Minute,
			[]metrics.Query{{Metric: metrics.ResponseTotal, Match: match, By: []string{"classification"}}})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, s := range answer.Samples[0] {
			sum += s.Value
		}
		if got := sum / 60; math.Abs(got-e.RPS) > 1e-9 {
			t.Errorf("edge %s has %.2frps, and %s finds %.2f", e.ID, e.RPS, e.Command, got)
		}
	}
	if found < maxExternal+2 {
		t.Errorf("%d edges with PromQL", found)
	}
}

// TestTopologyPutsNoHostileNameIntoACommand: series come from pods, which can say anything.
func TestTopologyPutsNoHostileNameIntoACommand(t *testing.T) {
	series := sent("shop", "web", `dst_namespace="shop",dst_deployment="$(reboot)"`, mTLS("server", "shop", "api"),
		57, 3) +
		served("shop", `deployment="x;reboot"`, noProxyAtClient, 6, 0)
	found := 0
	for _, link := range []string{"namespace=shop", ""} {
		page := topologyOf(t, graphSources(t, graphShop(), series), link)
		for _, n := range page.Nodes {
			if strings.Contains(n.Command, "reboot") {
				t.Errorf("node %q: %s", n.Name, n.Command)
			}
		}
		for _, e := range page.Edges {
			if strings.Contains(e.ID, "reboot") {
				found++
			}
			if strings.HasPrefix(e.Command, "tulle") && strings.Contains(e.Command, "reboot") ||
				strings.Contains(e.SecurityCommand, "reboot") {
				t.Errorf("edge %s: %s, %s", e.ID, e.Command, e.SecurityCommand)
			}
		}
	}
	if found == 0 {
		t.Error("no edge has the name")
	}
}
