// Package alloctest counts the allocations of a function in a test.
//
// It owns the rule when such tests run. It must not import any package of Tulle. The one idea: a count has a meaning
// only without the race detector, which allocates and empties every sync.Pool at random. `make unit` therefore runs
// tests twice. With the race detector it runs all tests, and Count skips. Without it, it runs those whose names match
// Names.
package alloctest

import (
	"strings"
	"testing"
)

// Names is part of the name of every test that calls Count. The Makefile selects these tests by it.
const Names = "Allocate"

// Count returns how often f allocates, as an average of runs calls. It skips the test under the race detector.
func Count(t testing.TB, runs int, f func()) float64 {
	t.Helper()
	if !strings.Contains(t.Name(), Names) {
		t.Fatalf("the name of a test that counts allocations must contain %q, so that make unit finds it", Names)
	}
	if raceEnabled {
		t.Skip("the race detector allocates, and empties pools at random")
	}
	return testing.AllocsPerRun(runs, f)
}
