package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// helmLabels are those that docs/operate/helm.md gives the control plane's namespace.
var helmLabels = []string{"linkerd.io/is-control-plane=true", "linkerd.io/control-plane-ns=" + meshNS,
	"config.linkerd.io/admission-webhooks=disabled", "pod-security.kubernetes.io/enforce=restricted",
	"pod-security.kubernetes.io/audit=restricted", "pod-security.kubernetes.io/warn=restricted"}

// helm runs helm, built from its module, on the cluster.
func helm(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := run(2*time.Minute, nil, filepath.Join(env.root, "bin/helm"), append(args, "--namespace", meshNS)...)
	if err != nil {
		t.Fatalf("helm %s: %v", args[0], err)
	}
	return out
}

// TestHelmInstalls needs a cluster without a mesh, so its file is the last. Alone, it takes the mesh away first.
func TestHelmInstalls(t *testing.T) {
	if _, err := kubectl("get", "namespace", meshNS); err == nil {
		mustKubectl(t, "delete", "namespace", appNS, workNS, clientsNS, clientsBareNS, tracesNS, "--ignore-not-found")
		uninstallMesh(t)
	}
	dir := t.TempDir()
	helm(t, "package", filepath.Join(env.root, "install/chart"), "--destination", dir, "--version", "0.0.0-test",
		"--app-version", env.version) // as a release does
	chart := filepath.Join(dir, "tulle-0.0.0-test.tgz")

	notes := string(helm(t, "install", "tulle", chart, "--create-namespace"))
	if !strings.Contains(notes, "kubectl label namespace "+meshNS) {
		t.Errorf("the notes do not say that the namespace lacks its labels:\n%s", notes)
	}
	mustKubectl(t, append([]string{"label", "namespace", meshNS, "--overwrite"}, helmLabels...)...)
	if out, err := run(3*time.Minute, nil, env.tulle, "check", "--wait", "2m"); err != nil {
		t.Fatalf("check of an installation by Helm: %v\n%s", err, out)
	}
	before := mustKubectl(t, "-n", meshNS, "get", "pods", "-o", "name")
	notes = string(helm(t, "upgrade", "tulle", chart, "--reset-then-reuse-values"))
	if strings.Contains(notes, "kubectl label") {
		t.Errorf("the notes ask for labels that the namespace has:\n%s", notes)
	}
	if after := mustKubectl(t, "-n", meshNS, "get", "pods", "-o", "name"); after != before {
		t.Errorf("an upgrade without changes replaced pods:\n%s\nbefore:\n%s", after, before)
	}
	diff, err := kubectlIn(helm(t, "template", "tulle", chart), "diff", "-f", "-")
	if err != nil || len(diff) > 0 {
		t.Errorf("kubectl diff of what helm template prints (%v):\n%s", err, tail(string(diff), 4000))
	}
	uninstallMesh(t)
	if left, err := kubectl("get", "namespace", meshNS); err == nil {
		t.Errorf("tulle uninstall leaves the namespace of Helm's release:\n%s", left)
	}
}

// uninstallMesh deletes what `tulle uninstall` prints, and waits until it is gone.
func uninstallMesh(t *testing.T) {
	t.Helper()
	manifests, err := run(time.Minute, nil, env.tulle, "uninstall")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubectlIn(manifests, "delete", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}
