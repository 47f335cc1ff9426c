package tulle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNamesWhatExists compares the tables of docs/architecture.md that name code with the code: each
// function and each field is in its file, and the walk of a change lists no file twice.
func TestArchitectureNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	for _, row := range tableOf(t, string(page), "One HTTPRoute change") {
		if files[row[1]] {
			t.Errorf("%s is listed twice", row[1])
		}
		files[row[1]] = true
		requireDeclared(t, row[1], row[2])
	}
	for _, row := range tableOf(t, string(page), "What notes that something is out of date") {
		requireDeclared(t, row[1], row[0])
	}
}

// tableOf returns the cells of the only table in a section.
func tableOf(t *testing.T, page, section string) [][]string {
	t.Helper()
	_, text, _ := strings.Cut(page, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var rows [][]string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) > 1 && strings.HasSuffix(cells[1], ".go") {
			rows = append(rows, cells)
		}
	}
	if len(rows) < 8 {
		t.Fatalf("section %q has %d rows that name files, want its table", section, len(rows))
	}
	return rows
}

// requireDeclared checks that file declares the functions and fields that text quotes.
func requireDeclared(t *testing.T, file, text string) {
	t.Helper()
	declared := declarations(t, file)
	names := regexp.MustCompile("`([A-Za-z.]+)`").FindAllStringSubmatch(text, -1)
	if len(names) == 0 {
		t.Errorf("%s: no name in %q", file, text)
	}
	for _, name := range names {
		if !declared[name[1]] {
			t.Errorf("%s does not declare %s", file, name[1])
		}
	}
}

// declarations returns the names of a file's functions, and of its methods and fields as Type.name.
func declarations(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("parse %s: %v", file, err)
		return nil
	}
	out := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			name := n.Name.Name
			if n.Recv != nil {
				name = receiverName(n.Recv.List[0].Type) + "." + name
			}
			out[name] = true
			return false
		case *ast.TypeSpec:
			if s, ok := n.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						out[n.Name.Name+"."+name.Name] = true
					}
				}
			}
		}
		return true
	})
	return out
}

func receiverName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverName(e.X)
	case *ast.IndexExpr:
		return receiverName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
