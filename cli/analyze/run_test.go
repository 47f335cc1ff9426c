package analyze

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRunReportsWhatItIsAskedAbout restricts findings to files and to a namespace.
func TestRunReportsWhatItIsAskedAbout(t *testing.T) {
	permissive := func(namespace string) map[string]any {
		return map[string]any{"apiVersion": "policy.linkerd.io/v1alpha1", "kind": "AuthorizationPolicy",
			"metadata": map[string]any{"name": "all", "namespace": namespace},
			"spec":     map[string]any{"targetRef": map[string]any{"kind": "Namespace", "name": namespace}}}
	}
	namespace := func(name string) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}
	}
	live := []map[string]any{namespace("shop"), namespace("bank"), namespace("idle"), permissive("shop"),
		permissive("bank")}
	for name, test := range map[string]struct {
		in   Input
		want []string // the namespaces of the findings
		err  string
	}{
		"the cluster":                  {Input{Live: live}, []string{"bank", "shop"}, ""},
		"one namespace":                {Input{Live: live, Namespace: "shop", Only: true}, []string{"shop"}, ""},
		"a namespace without findings": {Input{Live: live, Namespace: "idle", Only: true}, nil, ""},
		"a namespace that is not there": {Input{Live: live, Namespace: "gone", Only: true}, nil,
			"there is no namespace gone; -n names another, -A is for all"},
		"files":                  {Input{Live: live, Files: live[4:]}, []string{"bank"}, ""},
		"files of one namespace": {Input{Live: live, Files: live[4:], Namespace: "shop", Only: true}, nil, ""},
		"files alone":            {Input{Files: live[3:], Partial: true}, []string{"bank", "shop"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			findings, err := Run(test.in)
			if got := textOf(err); got != test.err {
				t.Fatalf("error %q, want %q", got, test.err)
			}
			var got []string
			for _, f := range findings {
				if f.Code == "Permissive" {
					got = append(got, f.Namespace)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("namespaces of findings (-want +got):\n%s", diff)
			}
		})
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReach(t *testing.T) {
	list := []Finding{{Severity: Info}, {Severity: Warning}}
	for threshold, want := range map[Severity]bool{Error: false, Warning: true, Info: true} {
		if got := Reach(list, threshold); got != want {
			t.Errorf("a warning reaches %s: got %t, want %t", threshold, got, want)
		}
	}
}
