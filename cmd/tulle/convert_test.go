package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestConvertGolden converts what people find in tutorials and in other meshes: every row of the compatibility contract's table of
// manifests that are wrong. Exit code 3 says that something has no counterpart, 1 that the text is no manifest.
func TestConvertGolden(t *testing.T) {
	codes := map[string]int{"y10-istio": codeLossy, "y11-flat": 1, "y12-annotations": codeLossy, "y03-policy": codeLossy, "y14-denyall": codeLossy}
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
			if r.code != 1 {
				admitted(t, r.out)
			}
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

// TestConvertTakesTheNamespaceOfTheCommandLine covers objects that name no namespace: what they say of one is about that of -n, or of
// none.
func TestConvertTakesTheNamespaceOfTheCommandLine(t *testing.T) {
	const policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny}\nspec: {}\n"
	if r := runCLI(t, noCluster, policy, "convert", "-"); r.code != codeLossy || r.out != "" || !strings.Contains(r.err, "give -n NAMESPACE") {
		t.Errorf("without -n: exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
	r := runCLI(t, noCluster, policy, "convert", "-n", "shop", "-")
	if r.code != 0 || !strings.Contains(r.out, "kind: Namespace\n") || !strings.Contains(r.out, "  name: shop\n") {
		t.Errorf("with -n: exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
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
