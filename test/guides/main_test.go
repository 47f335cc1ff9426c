package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBlocks(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"none":                         {"# A guide\n\nText.\n", nil},
		"two":                          {"```sh\na\nb | c\n```\ntext\n```sh\nd\n```\n", []string{"a\nb | c\n", "d\n"}},
		"other languages are no shell": {"```yaml\na: b\n```\n```\noutput\n```\n```sh\nc\n```\n", []string{"c\n"}},
		"one that never ends is none":  {"```sh\na\n", nil},
	} {
		if diff := cmp.Diff(test.want, blocksOf(test.text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// guide writes a checkout with one guide and returns a reader of it.
func guide(t *testing.T, text string) (reader, *bytes.Buffer) {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "docs", "guides"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "guides", "one.md"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	return reader{root: root, out: out, env: os.Environ()}, out
}

func TestGuideEndsAtTheCommandThatFails(t *testing.T) {
	r, out := guide(t, "```sh\npwd\n```\n```sh\nfalse | cat\necho never\n```\n```sh\necho neither\n```\n")
	err := r.read(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "guide one, commands 2 of 3: exit status 1") {
		t.Errorf("got error %v; want the place of the command", err)
	}
	got := strings.Split(out.String(), "\n")
	if resolved, _ := filepath.EvalSymlinks(r.root); len(got) < 3 || got[2] != r.root && got[2] != resolved {
		t.Errorf("got output %q; want the root of the checkout as working directory", got)
	}
	if strings.Contains(out.String(), "\nnever\n") || strings.Contains(out.String(), "neither") {
		t.Errorf("it went on after the failure: %s", out)
	}
}

func TestGuidesByName(t *testing.T) {
	r, out := guide(t, "```sh\ntrue\n```\n")
	if err := r.read(t.Context(), []string{"one"}); err != nil ||
		!strings.Contains(out.String(), "1 blocks of commands in 1 guides ran") {
		t.Errorf("got %v, %s", err, out)
	}
	if err := r.read(t.Context(), []string{"one", "other"}); err == nil {
		t.Error("a guide that does not exist was followed")
	}
}

func TestPagesWithCommandsAreRunToo(t *testing.T) {
	r, out := guide(t, "```sh\ntrue\n```\n")
	for page, text := range map[string]string{"tap.md": "```sh\necho tapped\n```\n", "tracing.md": "No commands yet.\n"} {
		if err := os.WriteFile(filepath.Join(r.root, "docs", page), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.read(t.Context(), nil); err != nil || !strings.Contains(out.String(), "\ntapped\n") ||
		!strings.Contains(out.String(), "2 blocks of commands in 2 guides ran") {
		t.Errorf("got %v, %s; want the commands of the guide and of tap.md", err, out)
	}
}
