package tulle

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestContributingNamesWhatExists checks the paths in the recipes of CONTRIBUTING.md.
func TestContributingNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile("`([a-z0-9]+(?:/[A-Za-z0-9_.]+)+)`").FindAllSubmatch(page, -1)
	if len(paths) < 15 {
		t.Errorf("CONTRIBUTING.md names %d paths, want its recipes to name more", len(paths))
	}
	for _, m := range paths {
		if _, err := os.Stat(string(m[1])); err != nil {
			t.Errorf("CONTRIBUTING.md names %s, which does not exist", m[1])
		}
	}
}

// TestLinksOfDocumentsLead checks that relative links of Markdown files lead to files.
func TestLinksOfDocumentsLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]+)(?:#[^)]*)?\)`)
	for _, file := range documents(t) {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(page, -1) {
			to := filepath.Join(filepath.Dir(file), string(m[1]))
			if _, err := os.Stat(to); err != nil && !strings.HasPrefix(string(m[1]), "/") {
				t.Errorf("%s links to %s, which does not exist", file, m[1])
			}
		}
	}
}

// TestIndexListsEveryDocument checks that docs/README.md links to every page of docs.
func TestIndexListsEveryDocument(t *testing.T) {
	index, err := os.ReadFile("docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		if name != "README.md" && !strings.Contains(string(index), "("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}

// TestGoTestCommandsOfDocuments checks that each `go test PACKAGE -run X`, or -bench X, of a document finds something.
func TestGoTestCommandsOfDocuments(t *testing.T) {
	commands := 0
	for _, file := range documents(t) {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range strings.Split(string(page), "go test ")[1:] {
			fields := strings.Fields(command[:strings.IndexAny(command+"`", "`|")])
			if len(fields) == 0 || !strings.HasPrefix(fields[0], "./") || strings.Contains(fields[0], "...") {
				continue
			}
			commands++
			names := testFunctions(t, fields[0])
			if len(names) == 0 {
				t.Errorf("%s: go test %s: no such package, or none with tests", file, fields[0])
			}
			for i := 1; i+1 < len(fields); i++ {
				if fields[i] != "-run" && fields[i] != "-bench" {
					continue
				}
				pattern := strings.Trim(fields[i+1], "'\"")
				if pattern == "-" || pattern == "^$" || pattern == "xxx" { // none, on purpose
					continue
				}
				if !slices.ContainsFunc(names, regexp.MustCompile(pattern).MatchString) {
					t.Errorf("%s: go test %s %s %s finds no function", file, fields[0], fields[i], pattern)
				}
			}
		}
	}
	if commands < 15 {
		t.Errorf("documents have %d commands with a package, want to find at least 15", commands)
	}
}

// testFunctions returns the names of the tests and benchmarks of a package of this module, or of the module in test.
func testFunctions(t *testing.T, pkg string) (names []string) {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w*)\(`)
	for _, module := range []string{".", "test"} {
		files, err := filepath.Glob(filepath.Join(module, pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range function.FindAllSubmatch(code, -1) {
				names = append(names, string(m[1]))
			}
		}
	}
	return names
}

// documents returns the paths of the Markdown files.
func documents(t *testing.T) (files []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "test/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}
