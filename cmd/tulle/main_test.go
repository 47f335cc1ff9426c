package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/internal/goldentest"
)

// noCluster is the connector of a machine without a kubeconfig.
func noCluster(globalFlags) (*cluster.Client, error) { return nil, errors.New("no kubeconfig") }

// result is what one run of the program gave.
type result struct {
	out, err string
	code     int
}

// runCLI runs the program as a shell would.
func runCLI(t *testing.T, connect connector, stdin string, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"tulle"}, args...),
		streams{in: strings.NewReader(stdin), out: &out, err: &stderr}, connect)
	return result{out.String(), stderr.String(), code}
}

// golden compares a result with a file of testdata; -update writes it.
func golden(t *testing.T, name string, r result) {
	t.Helper()
	got := "# stdout\n" + r.out + "# stderr\n" + r.err
	file := filepath.Join("testdata", name)
	goldentest.Equal(t, file, got)
}

func TestProgramAnswersToLinkerd(t *testing.T) {
	for argv0, want := range map[string]string{"/usr/bin/linkerd": "linkerd", "tulle": "tulle",
		"./bin/tulle-v1": "tulle"} {
		if got := commandName(argv0); got != want {
			t.Errorf("commandName(%q) = %q, want %q", argv0, got, want)
		}
	}
}

func TestNamespaceFlagsStandBeforeOrAfterTheVerb(t *testing.T) {
	for _, args := range [][]string{
		{"-L", "mesh-system", "install", "--ignore-cluster"},
		{"install", "--ignore-cluster", "--tulle-namespace=mesh-system"},
		{"--linkerd-namespace", "mesh-system", "install", "--ignore-cluster"},
	} {
		r := runCLI(t, noCluster, "", args...)
		if r.code != 0 || !strings.Contains(r.out, "kind: Namespace\nmetadata:\n  name: mesh-system\n") {
			t.Errorf("%q: exit code %d, no namespace mesh-system in the output; stderr %q", args, r.code, r.err)
		}
	}
}

func TestUnknownCommandRunsAnExtension(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"tulle-hello":   "#!/bin/sh\necho tulle \"$@\"; exit 3\n",
		"linkerd-hello": "#!/bin/sh\necho linkerd \"$@\"\n",
		"linkerd-other": "#!/bin/sh\necho other \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if r := runCLI(t, noCluster, "", "-n", "shop", "hello", "--world", "-x"); r.out != "tulle -n shop --world -x\n" ||
		r.code != 3 {
		t.Errorf("got %q and exit code %d; want tulle-hello with all arguments but the verb, and its exit code", r.out,
			r.code)
	}
	if r := runCLI(t, noCluster, "", "other"); r.out != "other \n" && r.out != "other\n" || r.code != 0 {
		t.Errorf("got %q and exit code %d; want linkerd-other", r.out, r.code)
	}
	if r := runCLI(t, noCluster, "", "nothing-of-that-name"); r.code != 1 ||
		!strings.Contains(r.err, `unknown command "nothing-of-that-name"`) {
		t.Errorf("got %q and exit code %d; want an error", r.err, r.code)
	}
}

func TestWrongArgumentsSayWhatIsWanted(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"inject"}, "name a file, a directory, a URL, or - for standard input"},
		{[]string{"uninject"}, "name a file, a directory, a URL, or - for standard input"},
		{[]string{"diagnostics", "endpoints"}, "name an authority"},
		{[]string{"diagnostics", "proxy-metrics"}, "name one resource"},
		{[]string{"diagnostics", "nothing-of-that-name"}, `unknown command "nothing-of-that-name"`},
		{[]string{"completion", "nothing-of-that-name"}, `unknown command "nothing-of-that-name"`},
		{[]string{"stat", "deploy"}, "tulle viz stat"},
		{[]string{"dashboard"}, "tulle viz dashboard"},
		{[]string{"edges"}, "tulle viz edges"},
		{[]string{"tap", "deploy/web"}, "tulle viz tap"},
		{[]string{"top"}, "tulle viz top"},
		{[]string{"jaeger", "install"}, "docs/tracing.md"},
		{[]string{"-n", "shop", "vis", "stat"}, `unknown command "vis" for "tulle"; did you mean viz?`},
		{[]string{"nothing-of-that-name"}, "see `tulle --help`"},
		{[]string{"routes", "svc/web"}, "tulle viz routes"},
		{[]string{"viz", "stat"}, "name a resource, such as deploy"},
		{[]string{"viz", "stta"}, "did you mean stat?"},
	} {
		if r := runCLI(t, noCluster, "", tt.args...); r.code != 1 || !strings.Contains(r.err, tt.want) {
			t.Errorf("%q: exit code %d, stderr %q; want %q", tt.args, r.code, r.err, tt.want)
		}
	}
}

func TestInterruptedCheckShowsHowFarItCame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err strings.Builder
	code := run(ctx, []string{"tulle", "check"}, streams{in: strings.NewReader(""), out: &out, err: &err}, noCluster)
	if code != 1 || !strings.Contains(out.String(), "Status check results are") ||
		!strings.Contains(err.String(), "interrupted") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want the results so far and that it was interrupted", code,
			out.String(), err.String())
	}
}
