package main

import (
	"io"
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
	r, err := c.follow(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.passed, []string{"MeshBasic"}) || !slices.Equal(r.failed, []string{"MeshTrafficSplit"}) || !slices.Equal(r.skipped, []string{"MeshPorts"}) {
		t.Errorf("follow = %+v", r)
	}
}

func TestVerdictWantsEveryTest(t *testing.T) {
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
		if err := c.results.verdict(meshTests); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: verdict = %q, want %q", name, got, c.want)
		}
	}
}
