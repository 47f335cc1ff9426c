package mesh

import (
	"slices"
	"testing"
)

func TestGRPCFailures(t *testing.T) {
	failures := []int16{2, 4, 7, 13, 14, 15}
	for code := int16(-2); code < 100; code++ {
		if got, want := IsGRPCFailure(code), slices.Contains(failures, code); got != want {
			t.Errorf("code %d: got %t, want %t", code, got, want)
		}
	}
}
