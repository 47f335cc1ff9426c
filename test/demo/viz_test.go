package main

import (
	"testing"
	"time"
)

func TestCustomersAndVizAgree(t *testing.T) {
	begun, err := parseCustomers(
		`{"list":{"ok":60,"failed":0},"cart":{"ok":20,"failed":0},"checkout":{"ok":18,"failed":2},"prices":{"ok":900,"failed":9}}`)
	if err != nil || begun.ok != 98 || begun.failed != 2 {
		t.Fatalf("got %+v, %v; want 98 that succeeded and 2 that failed", begun, err)
	}
	ended := count{at: begun.at.Add(10 * time.Second), ok: begun.ok + 490, failed: begun.failed + 10}
	customers := ended.since(begun)
	if customers != (rates{50, 0.98}) {
		t.Errorf("got %v, want 50 a second, and 98 %%", customers)
	}
	for out, agree := range map[string]bool{
		`[{"name":"web","success":0.98,"rps":50.9}]`: true,
		`[{"name":"web","success":0.98,"rps":51.1}]`: false,
		`[{"name":"web","success":0.98,"rps":48.9}]`: false,
		`[{"name":"web","success":0.95,"rps":50}]`:   false,
	} {
		seen, err := parseStat(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := seen.agree(customers); (err == nil) != agree {
			t.Errorf("%s: got %v", out, err)
		}
	}
	for _, out := range []string{"[]", `[{"name":"web","success":null,"rps":null}]`, "No traffic found."} {
		if seen, err := parseStat(out); err == nil {
			t.Errorf("%s: got %v, want an error", out, seen)
		}
	}
}
