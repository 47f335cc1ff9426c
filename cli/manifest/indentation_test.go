package manifest

import (
	"strings"
	"testing"
)

func TestIndentation(t *testing.T) {
	for text, want := range map[string]string{
		"kind: A\nmetadata:\nname: x\n":                           `line 3: "name" is at the level of "metadata"`,
		"kind: A\nspec:\n  selector:\n  matchLabels:\n    a: b\n": `line 4: "matchLabels" is at the level of "selector"`,
		"kind: A\nmetadata:\n  name: x\nspec:\n  a: b\n":          "",
		"kind: A\nmetadata:\n  labels:\n    a: b\nspec: {}\n":     "",
		"kind: A\nspec:\nstatus:\n  a: b\n":                       "",
	} {
		err := Document{source: "f", number: 1, line: 1, text: text}.CheckIndentation()
		if got := err == nil; got != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
