package main

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	got, err := parseAddress(strings.NewReader("Tulle dashboard available at:\nhttp://localhost:50750/?token=a\n"))
	if err != nil || got.Host != "localhost:50750" || got.Query().Get("token") != "a" {
		t.Errorf("got %v, error %v", got, err)
	}
	if got, err := parseAddress(strings.NewReader("Port 50750 is taken.\n")); err == nil {
		t.Errorf("without an address: got %v, want an error", got)
	}
}

func TestParseOverview(t *testing.T) {
	const shop = `{"workloads":[{"name":"load"},{"name":"web"},{"name":"live"},{"name":"catalog"},{"name":"cart"},` +
		`{"name":"checkout"},{"name":"redis"}]}`
	if got, err := parseOverview([]byte(shop)); err != nil || len(got) != 7 {
		t.Errorf("the shop: got %q, error %v", got, err)
	}
	for name, text := range map[string]string{"half of it": `{"workloads":[{"name":"web"}]}`, "no workloads": `{}`,
		"no JSON": `<html>`} {
		if got, err := parseOverview([]byte(text)); err == nil {
			t.Errorf("%s: got %q, want an error", name, got)
		}
	}
}
