package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/test/step"
)

const output = `=== RUN   TestConformance
=== RUN   TestConformance/GatewayInfrastructure
--- SKIP: TestConformance/GatewayInfrastructure (0.00s)
    --- PASS: TestConformance/MeshBasic (0.31s)
        --- PASS: TestConformance/MeshBasic/Send_to_service (0.30s)
    --- FAIL: TestConformance/MeshTrafficSplit (30.01s)
        --- FAIL: TestConformance/MeshTrafficSplit/0_request (30.00s)
    --- SKIP: TestConformance/MeshPorts (0.00s)
`

func TestFollowCountsTestsOfAMeshOnce(t *testing.T) {
	c := &conformance{progress: step.New(io.Discard)}
	r, err := c.follow(strings.NewReader(output), suiteEnded)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.passed, []string{"MeshBasic"}) || !slices.Equal(r.failed, []string{"MeshTrafficSplit"}) ||
		!slices.Equal(r.skipped, []string{"MeshPorts"}) {
		t.Errorf("follow = %+v", r)
	}
}

func TestCheckCompleteWantsEveryTest(t *testing.T) {
	all := make([]string, meshTests)
	for name, c := range map[string]struct {
		results results
		want    string
	}{
		"every test":       {results{passed: all}, ""},
		"one that failed":  {results{passed: all, failed: []string{"MeshX"}}, "failed: MeshX"},
		"one that skipped": {results{passed: all, skipped: []string{"MeshX"}}, "skipped: MeshX"},
		"one too few":      {results{passed: all[1:]}, "22 of 23 tests ran"},
	} {
		got := ""
		if err := c.results.checkComplete(meshTests); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: complete = %q, want %q", name, got, c.want)
		}
	}
}

const wholeReport = `
gatewayAPIChannel: standard
gatewayAPIVersion: v1.7.0
profiles:
- name: MESH-GRPC
  core: {result: success, statistics: {Passed: 3}}
- name: MESH-HTTP
  core: {result: success, statistics: {Passed: 7}}
  extended: {result: success, statistics: {Passed: 7}, supportedFeatures: [a, b, c, d, e, f, g, h, i]}
`

func TestCheckCompleteWantsWholeProfiles(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"a whole report":  {"", "", ""},
		"another channel": {"standard", "experimental", "the report is about v1.7.0 of the experimental channel"},
		"a profile that lacks": {"MESH-GRPC", "MESH-OTHER",
			`MESH-GRPC core: "" with 0 of 3 tests and 0 of 0 features, unsupported: []`},
		"a test that was failed": {"Passed: 7}}", "Passed: 6, Failed: 1}}",
			`MESH-HTTP core: "success" with 6 of 7 tests and 0 of 0 features, unsupported: []`},
		"a feature too few": {", i]", "]",
			`MESH-HTTP extended: "success" with 7 of 7 tests and 8 of 9 features, unsupported: []`},
		"a partial result": {"success, statistics: {Passed: 3}", "partial, statistics: {Passed: 3}",
			`MESH-GRPC core: "partial" with 3 of 3 tests and 0 of 0 features, unsupported: []`},
	} {
		file := filepath.Join(t.TempDir(), "report.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(wholeReport, c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readReport(file)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := r.checkComplete("standard"); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: complete = %q, want %q", name, got, c.want)
		}
	}
}

func TestSnapshotIsASemanticVersion(t *testing.T) {
	for version, want := range map[string]string{"v1.2.3": "v1.2.3", "v1.2.3-4-gabc1234": "v1.2.3-4-gabc1234",
		"0bc1234": "v0.0.0-g0bc1234"} {
		if got := (&conformance{version: version}).snapshot(); got != want {
			t.Errorf("version %s: snapshot = %s, want %s", version, got, want)
		}
	}
}
