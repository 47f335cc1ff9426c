package kube

import (
	"slices"
	"testing"
)

// An object that cannot be decoded, and a kind without objects take nothing from the others.
func TestConfigurationIsReadOnce(t *testing.T) {
	c := newCluster(t)
	c.create("web", "spec: {color: blue}")
	c.create("broken", "spec: {rules: 5}")
	events, err := readConfiguration(t.Context(), c.objects)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, describe(e))
	}
	if want := []string{"+ web/1 spec.color"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}
