package ca

import (
	"testing"
	"time"
)

func TestAuthoritiesOfOneDayHaveDifferentNames(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	first, err := authority("issuer", noon, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	second, err := authority("issuer", noon.Add(time.Second), noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first.Subject.CommonName != "issuer 2026-06-01T12:00:00Z" || first.Subject.CommonName == second.Subject.CommonName {
		t.Errorf("got names %q and %q, want each to end with its time", first.Subject.CommonName, second.Subject.CommonName)
	}
}
