package tulle

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityClaimsHaveTests holds docs/security.md to its word: each claim of its first table names a test, and each
// test that the page names exists.
func TestSecurityClaimsHaveTests(t *testing.T) {
	defined, declaration := map[string]bool{}, regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declaration.FindAllSubmatch(source, -1) {
			defined[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`(Test\\w+)`")
	for _, m := range name.FindAllSubmatch(page, -1) {
		if !defined[string(m[1])] {
			t.Errorf("docs/security.md names %s, which does not exist", m[1])
		}
	}
	_, table, _ := strings.Cut(string(page), "|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) < 30 {
		t.Fatalf("the table of docs/security.md has %d rows: is it another one?", len(rows))
	}
	for _, row := range rows {
		if !name.MatchString(row) {
			t.Errorf("no test is named beside a claim of docs/security.md: %.80s", row)
		}
	}
	_, open, _ := strings.Cut(string(page), "\n## Open connections\n")
	if open, _, _ = strings.Cut(open, "\n## "); !name.MatchString(open) {
		t.Error("no test is named in section Open connections of docs/security.md")
	}
}
