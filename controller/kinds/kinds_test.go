package kinds

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestKindsAreComplete holds each row against its Go type, and the rows against each other.
func TestKindsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range slices.Concat(Core(), Configuration(), Workloads()) {
		if k.Name == "" || k.Plural == "" || len(k.Versions) == 0 || seen[k.Definition()] {
			t.Errorf("%+v lacks something, or is there twice", k)
		}
		seen[k.Definition()] = true
		if k.New == nil {
			continue
		}
		if got := reflect.TypeOf(k.New()).Elem().Name(); got != k.Name {
			t.Errorf("%s: the Go type is %s", k.Name, got)
		}
	}
	for _, k := range slices.Concat(Core(), Configuration()) {
		if k.New == nil {
			t.Errorf("%s has no Go type", k.Name)
		}
	}
}

func TestFindTellsGroupsApart(t *testing.T) {
	for _, group := range []string{"gateway.networking.k8s.io", "policy.linkerd.io"} {
		k, ok := Find(Configuration(), group, "HTTPRoute")
		if !ok || k.Group != group {
			t.Errorf("HTTPRoute of %s: got %+v, %t", group, k, ok)
			continue
		}
		if own := strings.HasSuffix(reflect.TypeOf(k.New()).Elem().PkgPath(), "crds/v1alpha1"); own != (group[0] == 'p') {
			t.Errorf("HTTPRoute of %s has the Go type %T", group, k.New())
		}
	}
	if k, ok := Find(Configuration(), "example.org", "HTTPRoute"); ok {
		t.Errorf("HTTPRoute of example.org: got %+v, want none", k)
	}
}
