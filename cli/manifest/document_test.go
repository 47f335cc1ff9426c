package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadDocuments covers how a stream becomes documents, and in which line each begins.
func TestReadDocuments(t *testing.T) {
	type position struct{ Number, Line int }
	for name, test := range map[string]struct {
		text string
		want []position
		err  string
	}{
		"nothing":              {"", nil, ""},
		"comments alone":       {"# a\n---\n# b\n", nil, ""},
		"two of YAML":          {"a: 1\n---\nb: 2\n", []position{{1, 1}, {2, 3}}, ""},
		"content at a marker":  {"--- {a: 1}\n--- {b: 2}\n", []position{{1, 1}, {2, 2}}, ""},
		"two of JSON":          {"{\"a\":1}\n{\"b\":2}\n", []position{{1, 1}, {2, 2}}, ""},
		"JSON without a break": {`{"a":1}{"b":2}`, []position{{1, 1}, {2, 1}}, ""},
		"UTF-16":               {"\xff\xfea\x00", nil, "stdin: the text is UTF-16"},
		"no UTF-8":             {"a: 1\nb: \xff\n", nil, "stdin: line 2: the text is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := ReadDocuments("stdin", []byte(test.text))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			var got []position
			for _, d := range docs {
				got = append(got, position{d.number, d.firstLine()})
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("documents (-want +got):\n%s", diff)
			}
		})
	}
}

// TestObjects reads Lists and Lists in Lists, and names the field of an object within them.
func TestObjects(t *testing.T) {
	read := func(text string) ([]*Object, error) {
		return Sources{Stdin: strings.NewReader(text)}.Objects(t.Context(), []string{"-"})
	}
	objects, err := read("kind: List\nitems:\n- {kind: Pod, metadata: {name: a}}\n- {kind: List, items: [{kind: Pod, " +
		"metadata: {name: b}}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.Name())
	}
	if diff := cmp.Diff([]string{"pod/a", "pod/b"}, names); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got, want := objects[1].ErrorAt("spec",
		"is wrong").Error(), "stdin: document 1, from line 1: items[1].items[0].spec: is wrong"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	for text, want := range map[string]string{
		"a: 1\n":                   "kind: is missing",
		"":                         "stdin: no Kubernetes objects",
		"kind: List\nitems: [3]\n": "items[0]: is not an object",
		"kind: Pod\nkind: Pod\n":   `key "kind" already set`,
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
