package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilesAreGenerated(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Glob("../*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != len(boards) {
		t.Errorf("there are %d files for %d dashboards", len(want), len(boards))
	}
	for _, file := range want {
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		made, err := os.ReadFile(filepath.Join(dir, filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(old), string(made)); diff != "" {
			t.Errorf("run go generate ./viz/dashboards; %s (-file +generated):\n%s", file, diff)
		}
	}
}
