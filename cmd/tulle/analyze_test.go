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
