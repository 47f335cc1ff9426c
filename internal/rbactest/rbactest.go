// Package rbactest compares the rights that manifests grant with the table of docs/rbac.md.
//
// It owns how that table is read. It is for tests alone. The one idea: a right is one line of text, so a difference is
// readable.
package rbactest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Documented returns the tables of docs/rbac.md: by account, "<account> <Role|ClusterRole>" to one line for each rule.
func Documented(t *testing.T, file string) map[string]map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	accounts := map[string]map[string][]string{}
	account, kind := "", ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch cells := strings.Split(strings.Trim(line, "|"), "|"); {
		case strings.HasPrefix(line, "## "):
			account = strings.TrimPrefix(line, "## ")
			accounts[account] = map[string][]string{}
		case strings.HasPrefix(line, "Role in namespace"):
			kind = "Role"
		case strings.HasPrefix(line, "ClusterRole"):
			kind = "ClusterRole"
		case strings.HasPrefix(line, "|") && len(cells) == 5 && !strings.HasPrefix(line, "|---") &&
			!strings.HasPrefix(line, "| API group"):
			key := account + " " + kind
			rules := accounts[account]
			rules[key] = append(rules[key], rule(list(cells[0]), list(cells[1]), list(cells[3]), list(cells[2])))
			slices.Sort(rules[key])
		}
	}
	return accounts
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

// Granted returns the rules of all Roles and ClusterRoles among objects in the same form.
func Granted(objects []runtime.Object) map[string][]string {
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
	for _, obj := range objects {
		switch o := obj.(type) {
		case *rbacv1.Role:
			add(o.Name+" Role", o.Rules)
		case *rbacv1.ClusterRole:
			add(o.Name+" ClusterRole", o.Rules)
		}
	}
	return rules
}
