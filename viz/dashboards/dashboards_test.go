package dashboards

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// grafana is what these tests read of a dashboard.
type grafana struct {
	UID, Title, Description string
	SchemaVersion           int
	Tags                    []string
	Links                   []struct {
		Type string
		Tags []string
	}
	Templating struct {
		List []struct{ Name, Type, Definition, Query any }
	}
	Panels []grafanaPanel
}

type grafanaPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               *struct{ Type, UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ UID string }
	}
}

func all(t *testing.T) (out []grafana) {
	t.Helper()
	for _, name := range Names() {
		text, err := JSON(name)
		if err != nil {
			t.Fatal(err)
		}
		var b grafana
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b.UID != "tulle-"+strings.TrimSuffix(name, ".json") {
			t.Errorf("%s: uid is %s", name, b.UID)
		}
		out = append(out, b)
	}
	return out
}

// filled replaces the variables as Grafana does.
func filled(expr string) string {
	return regexp.MustCompile(`\$\w+`).ReplaceAllStringFunc(expr, func(v string) string {
		switch v {
		case "$__rate_interval":
			return "1m"
		case "$kind":
			return "deployment"
		default:
			return ".+"
		}
	})
}

// TestGrafanaLoadsTheDashboards checks what Grafana needs of a file that it provisions, and what readers need.
func TestGrafanaLoadsTheDashboards(t *testing.T) {
	boards := all(t)
	if len(boards) != 7 {
		t.Errorf("there are %d dashboards, want 7", len(boards))
	}
	for _, b := range boards {
		if len(b.UID) > 40 || b.Title == "" || b.Description == "" || b.SchemaVersion < 36 {
			t.Errorf("%s: uid, title, description or schemaVersion %d is wrong", b.UID, b.SchemaVersion)
		}
		if len(b.Links) != 1 || b.Links[0].Type != "dashboards" || !slices.Contains(b.Tags, b.Links[0].Tags[0]) {
			t.Errorf("%s: no links to the other dashboards", b.UID)
		}
		defined := map[string]bool{"$__rate_interval": true, "$datasource": true}
		if v := b.Templating.List; len(v) == 0 || v[0].Name != "datasource" || v[0].Type != "datasource" {
			t.Errorf("%s: the first variable is not the data source", b.UID)
		}
		for _, v := range b.Templating.List {
			if definition, ok := v.Definition.(string); ok {
				checkVariables(t, b.UID, definition, defined) // those before it
			}
			name, _ := v.Name.(string)
			defined["$"+name] = true
		}
		ids := map[int]bool{}
		for i, p := range b.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: %s has the id %d of another panel", b.UID, p.Title, p.ID)
			}
			ids[p.ID] = true
			p.check(t, b.UID, defined)
			for _, q := range b.Panels[:i] {
				if p.overlaps(q) {
					t.Errorf("%s: %s and %s overlap", b.UID, p.Title, q.Title)
				}
			}
		}
	}
}

func (p grafanaPanel) check(t *testing.T, board string, defined map[string]bool) {
	t.Helper()
	if at := p.GridPos; at.X+at.W > 24 || at.W == 0 || at.H == 0 {
		t.Errorf("%s: %s is outside of the grid", board, p.Title)
	}
	if p.Type == "row" {
		return
	}
	if p.Title == "" || len(p.Description) < 15 || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
		t.Errorf("%s: %s lacks a title, a description, a unit or a query", board, p.Title)
	}
	if p.Datasource == nil || p.Datasource.Type != "prometheus" || p.Datasource.UID != "${datasource}" {
		t.Errorf("%s: %s does not ask the data source that the reader chose", board, p.Title)
	}
	for _, q := range p.Targets {
		if q.Datasource.UID != "${datasource}" {
			t.Errorf("%s: query %s of %s asks another data source", board, q.RefID, p.Title)
		}
		if p.Type != "stat" && q.LegendFormat == "" {
			t.Errorf("%s: query %s of %s has no legend", board, q.RefID, p.Title)
		}
		checkVariables(t, board, q.Expr, defined)
	}
}

func (p grafanaPanel) overlaps(q grafanaPanel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

func checkVariables(t *testing.T, board, expr string, defined map[string]bool) {
	t.Helper()
	for _, name := range regexp.MustCompile(`\$\w+`).FindAllString(expr, -1) {
		if !defined[name] {
			t.Errorf("%s: %s is not defined before %s", board, name, expr)
		}
	}
}

// TestMetricsExist checks that docs/metrics.md, docs/controller-metrics.md or docs/tap.md has each metric of a panel or
// an alert.
func TestMetricsExist(t *testing.T) {
	known := map[string]bool{"up": true, "go_goroutines": true}
	for _, file := range []string{"../../docs/metrics.md", "../../docs/controller-metrics.md", "../../docs/tap.md"} {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllSubmatch(page, -1) {
			known[string(m[1])] = true
		}
	}
	metric := regexp.MustCompile(
		`\b(?:up|(?:tulle|request|response|route|tcp|inbound|outbound|control|process|proxy|go|identity)_\w+)\b`)
	quoted := regexp.MustCompile(`"[^"]*"|\bby \([^)]*\)|\w+(?:=~|!~|!=|=)`)
	recorded := regexp.MustCompile(`\bworkload:[\w:]+`)
	check := func(where, expr string) {
		names := metric.FindAllString(recorded.ReplaceAllString(quoted.ReplaceAllString(expr, ""), ""), -1)
		if len(names) == 0 && !strings.Contains(expr, "workload:") {
			t.Errorf("%s: no metric in %s", where, expr)
		}
		for _, name := range names {
			if !known[name] && !known[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s: nothing documents %s", where, name)
			}
		}
	}
	for _, b := range all(t) {
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				check(b.UID+": "+p.Title, q.Expr)
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Alert+r.Record, r.Expr)
	}
}

// TestQueriesSelectAJob wants every query to be about the proxies or the control plane, or about recorded series, which
// have no job. An application chooses the names of its series, and may have the same.
func TestQueriesSelectAJob(t *testing.T) {
	selector := regexp.MustCompile(`\w+\{job="linkerd-(proxy|controller)"[^}]*\}|workload:[\w:]+\{job=""\}`)
	other := regexp.MustCompile(`"[^"]*"|\[[^]]*\]|\w+ by \([^)]*\)|\w+\(|\b(and|or|unless)\b`)
	check := func(where, expr string) {
		rest := other.ReplaceAllString(selector.ReplaceAllString(expr, ""), "")
		if !selector.MatchString(expr) || regexp.MustCompile(`[a-z{]`).MatchString(rest) {
			t.Errorf("%s: no job in a selector of %s", where, expr)
		}
	}
	for _, b := range all(t) {
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				check(b.UID+": "+p.Title, q.Expr)
			}
		}
		for _, v := range b.Templating.List {
			if text, ok := v.Definition.(string); ok {
				query := strings.TrimPrefix(text, "label_values(")
				check(b.UID, query[:strings.LastIndex(query, ", ")])
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Alert+r.Record, r.Expr)
	}
}

// TestObjects reads the YAML back.
func TestObjects(t *testing.T) {
	type object struct {
		APIVersion, Kind string
		Metadata         struct {
			Name, Namespace string
			Labels          map[string]string
		}
		Data map[string]string
		Spec json.RawMessage
	}
	read := func(text []byte) (out []object) {
		t.Helper()
		for doc := range bytes.SplitSeq(text, []byte("---\n")) {
			if len(doc) == 0 {
				continue
			}
			var o object
			if err := yaml.Unmarshal(doc, &o); err != nil {
				t.Fatal(err)
			}
			if o.Metadata.Namespace != "monitoring" {
				t.Errorf("%s %s is in namespace %q", o.Kind, o.Metadata.Name, o.Metadata.Namespace)
			}
			out = append(out, o)
		}
		return out
	}
	maps := read(ConfigMaps("monitoring"))
	if len(maps) != len(Names()) {
		t.Fatalf("%d ConfigMaps for %d dashboards", len(maps), len(Names()))
	}
	for i, name := range Names() {
		want, err := JSON(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{name: string(want)}, maps[i].Data); diff != "" {
			t.Errorf("data of %s (-want +got):\n%s", maps[i].Metadata.Name, diff)
		}
		if maps[i].Metadata.Labels["grafana_dashboard"] != "1" {
			t.Errorf("%s lacks the label of Grafana's sidecar", maps[i].Metadata.Name)
		}
	}
	rule := read(PrometheusRule("monitoring", map[string]string{"release": "stack"}))[0]
	want, err := yaml.YAMLToJSON(Rules())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(rule.Spec)); diff != "" || rule.Kind != "PrometheusRule" {
		t.Errorf("%s (-rule file +spec):\n%s", rule.Kind, diff)
	}
	labels := map[string]string{"team": "true", "release": "stack"}
	monitors := slices.Concat(PodMonitors("monitoring", "mesh", labels), ExtensionPodMonitor("monitoring", labels))
	for _, o := range append(read(monitors), rule) {
		if o.Metadata.Labels["release"] != "stack" || o.Metadata.Labels["linkerd.io/extension"] != "viz" {
			t.Errorf("%s %s has the labels %v", o.Kind, o.Metadata.Name, o.Metadata.Labels)
		}
	}
	other := func(o object) bool { return o.Kind != "PodMonitor" }
	if got := read(monitors); len(got) != 3 || slices.ContainsFunc(got, other) {
		t.Errorf("got %v, want three PodMonitors", got)
	}
	if regexp.MustCompile(`NAMESPACE|CONTROL_PLANE|CREATED_BY`).Match(monitors) {
		t.Errorf("a placeholder is left in\n%s", monitors)
	}
}
