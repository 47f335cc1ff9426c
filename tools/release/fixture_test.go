package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var host = platform{runtime.GOOS, runtime.GOARCH}

const mainOf = `package main

import "os"

var version = "dev"

func main() { _, _ = os.Stdout.WriteString(version + "\n") }
`

// checkout returns a repository with one commit and its tag v0.1.0, that has everything a release is made of, and small
// programs: those of the mesh would take minutes.
func checkout(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile("../../install/install.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "checkout")
	files := map[string]string{
		"go.mod":  "module example.test/mesh\n\ngo 1.26.0\n",
		"LICENSE": "the license\n", "README.md": "# Read me\n", "CHANGELOG.md": "# Changelog\n\n## v0.1.0 (2026-12-01)\n",
		"install/install.sh":             string(script),
		"install/chart/Chart.yaml":       "apiVersion: v2\nname: tulle\nversion: 0.0.0-dev\nappVersion: dev\n",
		"install/chart/values.yaml":      "linkerdVersion: \"\"\n",
		"install/chart/templates/a.yaml": "kind: A\n",
		"install/chart/chart.go":         "package chart\n",
		"install/chart/.helmignore":      "# Code.\n*.go\n",
		".gitignore":                     "/dist/\n",
	}
	for _, name := range []string{"tulle", "tulle-controller", "tulle-proxy"} {
		files["cmd/"+name+"/main.go"] = mainOf
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		writeFile(t, filepath.Join(dir, name), files[name])
	}
	git(t, dir, "init", "-q")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "first")
	git(t, dir, "tag", "-a", "v0.1.0", "-m", "v0.1.0")
	return dir
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.test")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// of returns the release v0.1.0 of a checkout, not made yet.
func of(dir string, platforms ...platform) *release {
	return &release{
		version: "v0.1.0", source: dir, output: filepath.Join(dir, "dist", "release"), registry: "ghcr.io/tulle-mesh",
		platforms: platforms, log: io.Discard,
	}
}

// made makes a release and returns its folder.
func made(t *testing.T, r *release) string {
	t.Helper()
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(r.output, r.version)
}

// contents returns the files of a folder by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			data = fmt.Append(nil, err)
		}
		all[file.Name()] = string(data)
	}
	return all
}
