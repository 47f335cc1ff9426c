package check

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestIsTransient waits while any part of a failure is transient.
func TestIsTransient(t *testing.T) {
	starting, forbidden := errors.New("starting"), permanent{errors.New("forbidden")}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                  {nil, false},
		"a failure":                {starting, true},
		"a permanent one":          {forbidden, false},
		"permanent ones":           {errors.Join(forbidden, forbidden), false},
		"one of each":              {errors.Join(forbidden, starting), true},
		"a permanent one, wrapped": {fmt.Errorf("check: %w", forbidden), false},
		"an absent webhook": {
			refusal(rollout{refused: `Internal error occurred: failed calling webhook "tulle"`}), true},
		"a quota": {refusal(rollout{refused: "is forbidden: exceeded quota"}), false},
	} {
		if got := isTransient(test.err); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

func TestEveryCheckIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cat := range append(checks(Options{Pre: true}), checks(Options{Proxy: true})...) {
		for _, ch := range cat.checks {
			if !strings.Contains(string(data), `<a id="`+ch.anchor+`"></a>`) {
				t.Errorf("docs/checks.md has no anchor %s (%s)", ch.anchor, ch.text)
			}
		}
	}
}
