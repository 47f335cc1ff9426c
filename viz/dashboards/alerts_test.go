package dashboards

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// ruleFile is a rule file of Prometheus.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (out []rule) {
	t.Helper()
	var file ruleFile
	if err := yaml.UnmarshalStrict(withoutDurations(Rules()), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// withoutDurations leaves out "for", which these tests do not read.
func withoutDurations(text []byte) []byte {
	return regexp.MustCompile(`(?m)^ +for: .*\n`).ReplaceAll(text, nil)
}

// promtool runs Prometheus's tool, of PROMTOOL or in the PATH.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if named := os.Getenv("PROMTOOL"); named != "" {
		path, err = named, nil
	}
	if err != nil {
		t.Skip("there is no promtool in the PATH: install prometheus")
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlertsFire(t *testing.T) { promtool(t, "test", "rules", "testdata/alerts.test.yaml") }

// TestEveryRuleIsTested checks that promtool's tests query each rule.
func TestEveryRuleIsTested(t *testing.T) {
	text, err := os.ReadFile("testdata/alerts.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		name := r.Alert + r.Record
		if !strings.Contains(string(text), name) {
			t.Errorf("no test for %s", name)
		}
	}
}

// TestAlertsSayWhatToDo checks that each alert has texts, and that its runbook is a section of docs/alerts.md.
func TestAlertsSayWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (Tulle\w+)$`).FindAllSubmatch(page, -1) {
		sections[string(m[1])] = false
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			continue
		}
		if _, ok := sections[r.Alert]; !ok {
			t.Errorf("docs/alerts.md has no section %s", r.Alert)
		}
		sections[r.Alert] = true
		want := "https://github.com/tulle-mesh/tulle/blob/main/docs/alerts.md#" + strings.ToLower(r.Alert)
		if got := r.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: runbook_url is %s, want %s", r.Alert, got, want)
		}
		if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 80 {
			t.Errorf("%s: summary or description is missing or too short", r.Alert)
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity is %q", r.Alert, s)
		}
	}
	for name, used := range sections {
		if !used {
			t.Errorf("docs/alerts.md describes %s, which is not an alert", name)
		}
	}
}

// TestQueriesAreClean lets promtool parse each query of each dashboard, as if it were a rule.
func TestQueriesAreClean(t *testing.T) {
	var text strings.Builder
	text.WriteString("groups:\n- name: panels\n  rules:\n")
	i := 0
	for _, b := range all(t) {
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				i++
				fmt.Fprintf(&text, "  - record: panel:%d\n    expr: %q\n", i, filled(q.Expr))
			}
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", "--lint=none", file)
	promtool(t, "check", "rules", "--lint-fatal", "alerts.yaml")
}
