package tulle

import (
	"os"
	"path/filepath"
	"regexp"
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
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "test/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
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
