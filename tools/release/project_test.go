package main

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// The other tests release a small checkout. This one looks at the project's own files.
func TestProjectCanBeReleased(t *testing.T) {
	t.Run("the chart is packaged whole, without code", func(t *testing.T) {
		entries, err := chartEntries("../../install/chart", "v0.1.0")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.name)
			if path.Ext(e.name) == ".go" {
				t.Errorf("%s is in the chart", e.name)
			}
		}
		for _, want := range []string{"tulle/Chart.yaml", "tulle/values.schema.json", "tulle/templates/_helpers.tpl"} {
			if !slices.Contains(names, want) {
				t.Errorf("%s is missing", want)
			}
		}
	})
	t.Run("programs are built as make build builds them", func(t *testing.T) {
		makefile, err := os.ReadFile("../../Makefile")
		if err != nil {
			t.Fatal(err)
		}
		flags := buildFlags("$(VERSION)")
		flags[len(flags)-1] = "'" + flags[len(flags)-1] + "'"
		if want := "go build " + strings.Join(flags, " ") + "\n"; !strings.Contains(string(makefile), want) {
			t.Errorf("GO_STATIC of the Makefile has other flags than %s", want)
		}
	})
}
