package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tulle-mesh/tulle/internal/analyze"
)

func TestAnalyzeGolden(t *testing.T) {
	r := runCLI(t, emptyCluster().connect, "", "analyze", "-f", "testdata/analyze/shop.yaml")
	if r.code != 1 {
		t.Errorf("exit code %d, want 1: there are errors", r.code)
	}
	golden(t, "analyze/shop.txt", r)
}

// TestAnalyzeAgrees finds in the cluster what it finds in files.
func TestAnalyzeAgrees(t *testing.T) {
	data, err := os.ReadFile("testdata/analyze/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := emptyCluster()
	for _, tree := range trees(t, string(data)) {
		f.untyped = append(f.untyped, &unstructured.Unstructured{Object: tree})
	}
	live := runCLI(t, f.connect, "", "analyze", "-A")
	files := runCLI(t, emptyCluster().connect, "", "analyze", "-f", "testdata/analyze/shop.yaml")
	if live.out != files.out || live.code != files.code {
		t.Errorf("the cluster has\n%s%sthe files have\n%s", live.err, live.out, files.out)
	}
	one := runCLI(t, f.connect, "", "analyze", "-n", "clients", "-o", "json", "--failure-threshold", "warning")
	var findings []analyze.Finding
	if err := json.Unmarshal([]byte(one.out), &findings); err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		if finding.Namespace != "clients" {
			t.Errorf("-n clients shows %v", finding)
		}
	}
	if len(findings) == 0 || one.code != 1 {
		t.Errorf("exit code %d and %d findings, want 1 and some: a profile where it holds for clients only", one.code, len(findings))
	}
}

func TestAnalyzeHealthy(t *testing.T) {
	r := runCLI(t, healthyCluster(t).connect, "", "analyze", "-n", "shop")
	if r.code != 0 || r.out != "No issues found.\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
}

// TestAnalyzeFilesAlone does not tell that what the files do not hold is missing.
func TestAnalyzeFilesAlone(t *testing.T) {
	r := runCLI(t, noCluster, "", "analyze", "--ignore-cluster", "-f", "testdata/convert/y09-route.yaml")
	if r.code != 0 || strings.Contains(r.out, "Missing") {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
}

// TestAnalyzeTuning finds what the annotations of routes and Services would not do, in words of the kind of object that they are at.
func TestAnalyzeTuning(t *testing.T) {
	manifest := `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {balancer.linkerd.io/failure-accrual: sometimes, retry.linkerd.io/htpp: 5xx}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop, annotations: {timeout.linkerd.io/request: soon}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {config.linkerd.io/default-inbound-policy: open}}
`
	r := runCLI(t, noCluster, manifest, "analyze", "--ignore-cluster", "-f", "-")
	for _, want := range []string{
		"annotation balancer.linkerd.io/failure-accrual: \"sometimes\"", "annotation retry.linkerd.io/htpp: there is no such annotation",
		"annotation timeout.linkerd.io/request: \"soon\"", "default-inbound-policy of the namespace has the value \"open\"",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %s in\n%s%s", want, r.out, r.err)
		}
	}
	if r.code != 1 {
		t.Errorf("exit code %d, want 1", r.code)
	}
}

func TestAnalyzeNamesWhatIsNotThere(t *testing.T) {
	for name, tc := range map[string]struct {
		stdin string
		args  []string
		want  string
	}{
		"a namespace":        {"", []string{"analyze", "-n", "nowhere"}, "there is no namespace nowhere"},
		"objects in a file":  {"# nothing\n", []string{"analyze", "-f", "-"}, "stdin: holds no objects"},
		"an object's kind":   {"a: 1\n", []string{"analyze", "-f", "-"}, "stdin: document 1: kind: is missing"},
		"what is to convert": {"", []string{"convert", "-"}, "stdin: holds no objects"},
	} {
		if r := runCLI(t, healthyCluster(t).connect, tc.stdin, tc.args...); r.code != 1 || !strings.Contains(r.err, tc.want) {
			t.Errorf("%s: exit code %d, stderr %q; want %q", name, r.code, r.err, tc.want)
		}
	}
}
