package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/cli/manifest"
)

// streamCase is a source and the pods that are in it, or the error that it is.
type streamCase struct {
	text string
	pods []string
	err  string
}

func pod(name string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q}}`, name)
}

var manifestStreams = map[string]streamCase{
	"JSON on lines": {pod("a") + "\n" + pod("b") + "\n" + pod("c") + "\n", []string{"a", "b", "c"},
		""},
	"JSON without a line break":  {pod("a") + pod("b"), []string{"a", "b"}, ""},
	"JSON with carriage returns": {pod("a") + "\r\n" + pod("b") + "\r\n", []string{"a", "b"}, ""},
	"JSON over several lines":    {strings.ReplaceAll(pod("a")+pod("b"), ",", ",\n\t"), []string{"a", "b"}, ""},
	"JSON and YAML": {pod("a") + "\n" + pod("b") + "\n---\nkind: Pod\nmetadata: {name: c}\n---\n" +
		pod("d") + pod("e"), []string{"a", "b", "c", "d", "e"}, ""},
	"YAML and JSON": {"kind: Pod\nmetadata: {name: a}\n---\n" + pod("b") + "\n" + pod("c"),
		[]string{"a", "b", "c"}, ""},
	"a List and an object": {`{"kind":"List","items":[` + pod("a") + "," + pod("b") + "]}\n" + pod("c"),
		[]string{"a", "b", "c"}, ""},
	"a typed List of kubectl --raw": {`{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}`,
		[]string{"a"}, ""},
	"a comment between JSON": {pod("a") + "\n# comment\n---\n" + pod("b") + "\n# the end\n",
		[]string{"a", "b"}, ""},
	"JSON, YAML without a marker": {pod("a") + "\nkind: Pod\nmetadata: {name: b}\n", []string{"a", "b"}, ""},
	"flow mappings without a marker": {"{kind: Pod, metadata: {name: a}}\n{kind: Pod, metadata: {name: b}}\n", nil,
		"document 1, line 2: text follows the end of the document"},
	"JSON, then a flow mapping": {pod("a") + "\n{kind: Pod, metadata: {name: b}}\n", []string{"a", "b"}, ""},
	"JSON, then something else": {pod("a") + "\n, " + pod("b"), nil, "document 2, from line 2: "},
	"a JSON list":               {"[" + pod("a") + "]", nil, "document 1, line 1: not an object, but a array"},
	"JSON cut off": {pod("a") + "\n" + pod("b")[:40], nil,
		"document 2, from line 2: found unexpected end of stream"},
	"the first JSON cut off": {"\n" + pod("a")[:40], nil, "document 1, line 2: "},
	"JSON cut off in a List": {`{"kind":"List","items":[` + pod("a") + ",\n", nil, "document 1, line "},
	"a key twice in JSON": {pod("a") + "\n" + `{"kind":"Pod","metadata":{"name":"b",` + "\n" +
		`"name":"c"}}`, nil, `document 2, line 3: key "name" already set in map`},
	"a key twice in a JSON List": {`{"kind":"List","items":[{"a":[1,{"x":1}],"a":{}}]}`, nil,
		`key "a" already set in map`},
	"the same key in two objects of JSON": {
		`{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}},{"kind":"Pod","metadata":{"name":"b"}}]}`,
		[]string{"a", "b"}, ""},
	"escapes that YAML does not know": {`{"kind":"Pod","metadata":{"name":"a","annotations":{"x":"\ud83d\ude00\/"}}}`,
		[]string{"a"}, ""},
	"tabs in JSON": {"{\n\t\"kind\": \"Pod\",\n\t\"metadata\": {\"name\": \"a\"}\n}\n",
		[]string{"a"}, ""},
	"a marker inside of JSON": {`{"kind":"Pod","metadata":{"name":"a","annotations":{"x":"---","y":"\n---\n"}}}`,
		[]string{"a"}, ""},
	"a marker in a quoted scalar": {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    x: \"1\n     --- 2\n " +
		"    ---\n     3\"\n", []string{"a"}, ""},
	"a marker in a block scalar": {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    x: |\n      ---\n    " +
		"  kind: Pod\n      ...\n", []string{"a"}, ""},
	"objects in a block scalar": {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    x: |\n      " +
		pod("b") + "\n      " + pod("c") + "\n", []string{"a"}, ""},
	"documents of comments": {"# one\n---\n# two\n---\nkind: Pod\nmetadata: {name: a}\n---\n\n# " +
		"three\n---\n", []string{"a"}, ""},
	"a document that is null":   {"null\n---\nkind: Pod\nmetadata: {name: a}\n--- ~\n", []string{"a"}, ""},
	"an end marker last":        {"kind: Pod\nmetadata: {name: a}\n...\n", []string{"a"}, ""},
	"an end marker behind JSON": {pod("a") + "\n...\n" + pod("b") + "\n...\n", []string{"a", "b"}, ""},
	"carriage returns": {"kind: Pod\r\nmetadata: {name: a}\r\n---\r\nkind: Pod\r\nmetadata: {name: " +
		"b}\r\n", []string{"a", "b"}, ""},
	"carriage returns alone": {"kind: Pod\rmetadata: {name: a}\r---\rkind: Pod\rmetadata: {name: b}\r", nil,
		"document 1, line 3: another document follows"},
	"a byte order mark":             {"\ufeffkind: Pod\nmetadata: {name: a}\n", []string{"a"}, ""},
	"a byte order mark before JSON": {"\ufeff" + pod("a") + "\n" + pod("b"), []string{"a", "b"}, ""},
	"files with a mark one after another": {"\ufeffkind: Pod\nmetadata: {name: a}\n---\n\ufeffkind: Pod\nmetadata: " +
		"{name: b}\n\ufeff---\nkind: Pod\nmetadata: {name: c}\n", []string{"a", "b", "c"}, ""},
	"a document that is broken": {pod("a") + "\n---\nkind: Pod\nmetadata: {\n", nil, "document 2, line "},
	"no text": {"", nil,
		"stdin: no Kubernetes objects: check the file, or the command that writes it"},
	"white space":             {" \n\t\r\n", nil, "no Kubernetes objects"},
	"a byte order mark alone": {"\ufeff", nil, "no Kubernetes objects"},
	"comments alone":          {"# nothing\n---\n# here\n", nil, "no Kubernetes objects"},
	"markers alone":           {"---\n---\n...\n", nil, "no Kubernetes objects"},
	"a List without items":    {"kind: List\nitems: []\n", nil, "no Kubernetes objects"},
}

// TestEveryCommandReadsEveryDocument holds each command that reads manifests to the same rule: all objects of the
// source, or an error that names the document and the line.
func TestEveryCommandReadsEveryDocument(t *testing.T) {
	for name, test := range manifestStreams {
		t.Run(name, func(t *testing.T) {
			for _, command := range [][]string{{"inject", "-"}, {"uninject", "-"}, {"inject", "-o", "json", "-"},
				{"convert", "-"}} {
				r := runCLI(t, noCluster, test.text, command...)
				if test.err != "" {
					if r.code != 1 || r.out != "" || !strings.Contains(r.err, test.err) {
						t.Errorf("%q: exit code %d, stdout %q, stderr %q; want 1, nothing, and %q", command, r.code, r.out, r.err,
							test.err)
					}
					continue
				}
				if diff := cmp.Diff(test.pods, podsIn(t, r.out)); r.code != 0 || diff != "" {
					t.Errorf("%q: exit code %d, stderr %q, pods (-want +got):\n%s", command, r.code, r.err, diff)
				}
			}
			r := runCLI(t, noCluster, test.text, "analyze", "--ignore-cluster", "-f", "-")
			if wrong := r.code != 0 || !strings.Contains(r.out, "No issues found"); wrong != (test.err != "") ||
				!strings.Contains(r.err, test.err) {
				t.Errorf("analyze: exit code %d, stdout %q, stderr %q; want %q", r.code, r.out, r.err, test.err)
			}
		})
	}
}

// podsIn returns the names of the pods of a manifest.
func podsIn(t *testing.T, text string) []string {
	t.Helper()
	documents, err := manifest.Sources{Stdin: strings.NewReader(text)}.Decode(t.Context(), []string{"-"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range documents {
		for _, o := range d.Objects {
			names = append(names, o.Meta("name"))
		}
	}
	return names
}

// TestEmptyInputIsAnError covers what is not a stream of manifests, and an empty source among others.
func TestEmptyInputIsAnError(t *testing.T) {
	dir := t.TempDir()
	full, empty := filepath.Join(dir, "full.yaml"), filepath.Join(dir, "empty.yaml")
	for file, text := range map[string]string{full: pod("a"), empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"inject", full, empty}, {"uninject", empty, full}, {"convert", full, empty}, {"analyze", "--ignore-cluster", "-f",
			full, "-f", empty},
		{"profile", "web", "--open-api", empty}, {"profile", "web", "--proto", empty},
	} {
		if r := runCLI(t, noCluster, "", args...); r.code != 1 || r.out != "" || !strings.Contains(r.err, "empty.yaml: ") {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q; want an error that names the empty file", args, r.code, r.out,
				r.err)
		}
	}
	if r := runCLI(t, noCluster, "", "inject", dir); r.code != 0 {
		t.Errorf("a directory with one empty file: exit code %d, stderr %q; want 0", r.code, r.err)
	}
}

// TestOneDocumentIsWanted covers the sources that hold one document: more of them would be lost.
func TestOneDocumentIsWanted(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		text string
	}{
		"OpenAPI": {[]string{"profile", "web", "--open-api"},
			"swagger: '2.0'\npaths: {/a: {get: {}}}\n---\nswagger: '2.0'\n"},
		"OpenAPI as JSON": {[]string{"profile", "web", "--open-api"}, `{"swagger":"2.0","paths":{"/a":{"get":{}}}}` + "\n" +
			`{"swagger":"2.0"}`},
		"values": {[]string{"install", "--ignore-cluster", "-f"},
			"controllerReplicas: 1\n---\ncontrollerReplicas: 2\n"},
	} {
		file := filepath.Join(dir, "file.yaml")
		if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := runCLI(t, noCluster, "", append(slices.Clone(test.args), file)...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, "file.yaml: document 2, from line ") ||
			!strings.Contains(r.err, "want one document") {
			t.Errorf("%s: exit code %d, %d bytes of stdout, stderr %q; want an error at the second document", name, r.code,
				len(r.out), r.err)
		}
	}
}
