package viz

import (
	"strings"
	"testing"
)

// TestTopWithoutATerminal: it prints one table and ends.
func TestTopWithoutATerminal(t *testing.T) {
	for name, args := range map[string]string{
		"paths":        "top deploy/api",
		"routes":       "top deploy/api --routes",
		"hide-sources": "top deploy/api --hide-sources",
	} {
		t.Run(name, func(t *testing.T) {
			b := newTapBed(t)
			b.then = untilCancelled
			golden(t, "top-"+name+".txt", b.run(t, "shop", append(strings.Fields(args), "--duration", "1ms")...))
		})
	}
}

func TestTopWithoutTraffic(t *testing.T) {
	b := newTapBed(t)
	b.then, b.messages = untilCancelled, nil
	r := b.run(t, "shop", "top", "deploy/api", "--duration", "1ms")
	if r.fault != nil || r.out != "" || r.err != "No traffic found.\n" {
		t.Errorf("stdout %q, stderr %q, error %v", r.out, r.err, r.fault)
	}
}

func TestTopRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"top deploy/api --duration 0s": "--duration 0s: want more than 0",
		"top deploy/apj":               `did you mean "api"?`,
		"top svc/api":                  "services have no proxies",
	} {
		r := newTapBed(t).run(t, "shop", strings.Fields(args)...)
		if r.fault == nil || !strings.Contains(r.fault.Error(), want) {
			t.Errorf("%s: error %v; want %q", args, r.fault, want)
		}
	}
}
