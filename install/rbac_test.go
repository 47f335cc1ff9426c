package install

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

// documentedRules returns the tables of docs/rbac.md: "<account> <Role|ClusterRole>" to one line for each rule.
func documentedRules(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("../docs/rbac.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	account, kind := "", ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch cells := strings.Split(strings.Trim(line, "|"), "|"); {
		case strings.HasPrefix(line, "## "):
			account = strings.TrimPrefix(line, "## ")
		case strings.HasPrefix(line, "Role in namespace"):
			kind = "Role"
		case strings.HasPrefix(line, "ClusterRole"):
			kind = "ClusterRole"
		case strings.HasPrefix(line, "|") && len(cells) == 5 && !strings.HasPrefix(line, "|---") &&
			!strings.HasPrefix(line, "| API group"):
			key := account + " " + kind
			rules[key] = append(rules[key], rule(list(cells[0]), list(cells[1]), list(cells[3]), list(cells[2])))
		}
	}
	for _, lines := range rules {
		slices.Sort(lines)
	}
	return rules
}

// list reads a cell; – and "" (the core group) are empty.
func list(cell string) []string {
	var out []string
	for part := range strings.SplitSeq(cell, ",") {
		if part = strings.Trim(strings.TrimSpace(part), "`"); part != "–" && part != `""` {
			out = append(out, part)
		}
	}
	slices.Sort(out)
	return out
}

func rule(groups, resources, names, verbs []string) string {
	return fmt.Sprintf("groups=%v resources=%v names=%v verbs=%v", groups, resources, names, verbs)
}

// renderedRules returns the rules of the manifests in the same form.
func renderedRules(t *testing.T) map[string][]string {
	t.Helper()
	rules := map[string][]string{}
	add := func(key string, policies []rbacv1.PolicyRule) {
		for _, p := range policies {
			cells := [][]string{slices.DeleteFunc(p.APIGroups, func(g string) bool { return g == "" }), p.Resources,
				p.ResourceNames, p.Verbs}
			for _, cell := range cells {
				slices.Sort(cell)
			}
			rules[key] = append(rules[key], rule(cells[0], cells[1], cells[2], cells[3]))
		}
		slices.Sort(rules[key])
	}
	for _, obj := range decodeStrict(t, render(t, build(t, variants["default"]))) {
		switch o := obj.(type) {
		case *rbacv1.Role:
			add(o.Name+" Role", o.Rules)
		case *rbacv1.ClusterRole:
			add(o.Name+" ClusterRole", o.Rules)
		}
	}
	return rules
}

func TestRightsAreTheDocumentedOnes(t *testing.T) {
	if diff := cmp.Diff(documentedRules(t), renderedRules(t)); diff != "" {
		t.Errorf("the manifests grant other rights than docs/rbac.md says (-documented +granted):\n%s", diff)
	}
}
