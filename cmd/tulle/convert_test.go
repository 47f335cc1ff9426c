package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestConvertGolden converts what people find in tutorials and in other meshes: every row of the compatibility contract's table of
// manifests that are wrong. Exit code 3 says that something has no counterpart, 1 that the text is no manifest.
func TestConvertGolden(t *testing.T) {
	codes := map[string]int{"y10-istio": codeLossy, "y11-flat": 1, "y12-annotations": codeLossy, "y14-denyall": codeLossy}
	files, err := filepath.Glob("testdata/convert/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, "", "convert", file)
			if r.code != codes[name] {
				t.Errorf("exit code %d, want %d", r.code, codes[name])
			}
			golden(t, "convert/"+name+".txt", r)
		})
	}
}

func TestConvertIsDone(t *testing.T) {
	for _, file := range []string{"y01-y02-server", "y06-split", "y13-identity"} {
		first := runCLI(t, noCluster, "", "convert", "testdata/convert/"+file+".yaml")
		again := runCLI(t, noCluster, first.out, "convert", "-")
		if again.code != 0 || again.out != first.out {
			t.Errorf("%s: converting the output changes it: exit code %d\n%s", file, again.code, again.out)
		}
	}
}

func TestIndentation(t *testing.T) {
	for text, want := range map[string]string{
		"kind: A\nmetadata:\nname: x\n":                           `line 3: "name" stands beside "metadata"`,
		"kind: A\nspec:\n  selector:\n  matchLabels:\n    a: b\n": `line 4: "matchLabels" stands beside "selector"`,
		"kind: A\nmetadata:\n  name: x\nspec:\n  a: b\n":          "",
		"kind: A\nmetadata:\n  labels:\n    a: b\nspec: {}\n":     "",
		"kind: A\nspec:\nstatus:\n  a: b\n":                       "",
	} {
		err := document{source: "f", number: 1, line: 1, text: text}.checkIndentation()
		if got := err == nil; got != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
