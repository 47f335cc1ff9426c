package main

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write deps.txt")

// TestDependencies holds the binary that runs in every pod to a list that is reviewed. Internals of the standard
// library are left out: they change with every release of Go.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-tags", "grpcnotrace", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var deps []string
	for line := range strings.Lines(string(out)) {
		pkg := strings.TrimSpace(line)
		if strings.HasPrefix(pkg, "vendor/") || !strings.Contains(pkg, ".") &&
			slices.Contains(strings.Split(pkg, "/"), "internal") {
			continue
		}
		deps = append(deps, pkg)
	}
	slices.Sort(deps)
	want := strings.Join(deps, "\n") + "\n"
	if *update {
		if err := os.WriteFile("deps.txt", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("deps.txt is not what the binary holds; review the change and run go test ./cmd/tulle-proxy -update "+
			"(-file +binary)\n%s", diff)
	}
}
