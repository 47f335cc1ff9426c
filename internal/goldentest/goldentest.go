// Package goldentest compares what a test got with a file of the repository, and writes the file when asked to.
//
// It owns the flag -update of test programs. It must not import any package of Tulle. The one idea: the file shows a
// reviewer what a change does to the output.
package goldentest

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

// Equal fails the test if the file does not hold got. With -update it writes the file first. The path is relative to
// the test's package.
func Equal(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the test got; -update writes it (-want +got):\n%s", file, diff)
	}
}
