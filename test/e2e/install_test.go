package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInstallIsStable(t *testing.T) {
	first, err := run(time.Minute, nil, env.tulle, "install")
	if err != nil {
		t.Fatal(err)
	}
	second, err := run(time.Minute, nil, env.tulle, "install")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two runs of tulle install print different bytes")
	}
	if bytes.Contains(first, []byte("PRIVATE KEY")) || bytes.Contains(first, []byte("kind: Secret")) {
		t.Error("tulle install prints a secret")
	}
	for range 2 {
		out, err := kubectlIn(first, "apply", "-f", "-")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasSuffix(strings.TrimSpace(line), " unchanged") {
				t.Errorf("applying the same manifests again: %s", line)
			}
		}
	}
}

// TestLeastPrivilege compares what each ServiceAccount may do, beyond what an account without any grant may, with the
// committed table; run with UPDATE=1 to write it again.
func TestLeastPrivilege(t *testing.T) {
	for _, ns := range []string{meshNS, "default"} {
		everyone := canI(t, ns, "nobody")
		for _, account := range controlPlane {
			granted := slices.DeleteFunc(canI(t, ns, account), func(row string) bool { return slices.Contains(everyone, row) })
			golden(t, "can-i-"+account+"-in-"+ns+".txt", strings.Join(granted, "\n")+"\n")
		}
	}
}

// canI returns the rows of kubectl auth can-i --list, without the padding of their columns, in order.
func canI(t *testing.T, ns, account string) []string {
	t.Helper()
	var rows []string
	for row := range strings.Lines(mustKubectl(t, "auth", "can-i", "--list", "-n", ns, "--as=system:serviceaccount:tulle:"+
		account)) {
		rows = append(rows, strings.Join(strings.Fields(row), " "))
	}
	slices.Sort(rows)
	return rows
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from the committed table:\n%s", name, got)
	}
}

func TestControlPlaneIsRestricted(t *testing.T) {
	if got := mustKubectl(t, "get", "namespace", meshNS, "-o",
		`jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`); got != "restricted" {
		t.Errorf("namespace %s enforces %q, want restricted", meshNS, got)
	}
	out := mustKubectl(t, "label", "--dry-run=server", "--overwrite", "namespace", meshNS,
		"pod-security.kubernetes.io/enforce=restricted")
	if strings.Contains(out, "violate") {
		t.Error(out)
	}
}

func TestJobEnds(t *testing.T) {
	job := manifest("job.yaml")
	if _, err := kubectlIn(job, "delete", "--ignore-not-found", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if _, err := kubectlIn(job, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, "-n", appNS, "wait", "--for=condition=complete", "job/ends", "--timeout=120s")
}

func TestChecksPass(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"check", "--proxy", "-n", appNS}, {"-n", appNS, "check", "--proxy"}} {
		out, err := run(2*time.Minute, nil, env.tulle, args...)
		if err != nil {
			t.Errorf("tulle %v: %v\n%s", args, err, out)
		}
		if connected := "√ data plane proxies are connected to the control plane"; len(args) > 1 &&
			!strings.Contains(string(out), connected) {
			t.Errorf("tulle %v does not say %q:\n%s", args, connected, out)
		}
	}
}
