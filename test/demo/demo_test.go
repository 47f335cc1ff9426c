package main

import "testing"

func TestCountChanges(t *testing.T) {
	applied := "namespace/shop unchanged\ndeployment.apps/web configured\nservice/web created\nWarning: something\n"
	if got, want := countChanges(applied), "3 objects, 2 changed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
