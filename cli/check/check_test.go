package check

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
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

// TestWriteShowsNoControlCharacters prints an error that quotes a pod: who may edit pods chooses such text.
func TestWriteShowsNoControlCharacters(t *testing.T) {
	f := &facts{}
	f.viz.tap.outdated.value = map[watcher][]string{{"shop", "spiffe://a\x1b]0;x\a\n√ all is well\u202e"}: {"web"}}
	err := askOutdatedTap(f)
	if err == nil {
		t.Fatal("the pod is not named")
	}
	var out strings.Builder
	results := Results{{name: "tulle-viz", checks: []checkResult{{check: outdatedTap, err: err, result: warned}}}}
	if err := results.Write(&out, "table"); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\a\u202e") || strings.Contains(out.String(), "\n    √") {
		t.Errorf("got %q", out.String())
	}
}

// TestAPanicIsAFailedCheck: the dashboard looks in the background, and must go on.
func TestAPanicIsAFailedCheck(t *testing.T) {
	report := Look(t.Context(), Options{Connect: func() (*cluster.Client, error) { panic("mistake") }})
	if len(report.Groups) != 1 || report.Groups[0].Checks[0].Result != "error" ||
		!strings.Contains(report.Groups[0].Checks[0].Message, "mistake") {
		t.Errorf("got %+v", report)
	}
}
