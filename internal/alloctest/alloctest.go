// Package alloctest counts what a test's function allocates.
//
// It owns the rule where such tests run. It must not import any package of Tulle. The one idea: the race detector
// allocates, and empties every sync.Pool at random, so a count means something only without it. `make unit` therefore
// runs the tests twice: all of them with the race detector, where Count skips, and those whose names match Names
// without it.
package alloctest

import (
	"strings"
	"testing"
)

// Names is part of the name of every test that calls Count: the Makefile selects them by it.
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
