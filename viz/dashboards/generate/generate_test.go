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

func TestQueriesSelectAJob(t *testing.T) {
	for expr, want := range map[string]string{
		`sum(rate(request_total[$__rate_interval]))`: `sum(rate(request_total{job="linkerd-proxy"}[$__rate_interval]))`,
		`sum by (namespace) (up{direction="inbound"})`: `sum by (namespace) (up{job="linkerd-proxy", ` +
			`direction="inbound"})`,
		`1000 * max(tulle_kube_leading) - time()`: `1000 * max(tulle_kube_leading{job="linkerd-controller"}) - time()`,
		`up{job="linkerd-controller"} / 2`:        `up{job="linkerd-controller"} / 2`,
		`a_total or b_total{x="c_total y(z)"}`: `a_total{job="linkerd-proxy"} or b_total{job="linkerd-proxy", ` +
			`x="c_total y(z)"}`,
		`tulle_inject_failures_total{a=~"$b", $kind=~"$c"}`: `tulle_inject_failures_total{job="linkerd-controller", ` +
			`a=~"$b", $kind=~"$c"}`,
	} {
		if got := withJobs(expr); got != want {
			t.Errorf("%s:\n got %s\nwant %s", expr, got, want)
		}
	}
}
