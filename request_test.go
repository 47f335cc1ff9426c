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

// TestRequestWalks compares the tables of docs/request.md that list the code of a request with the code: each function
// is in its file, the files up to there call it, and no file is listed twice. The engine calls Route and the callbacks.
func TestRequestWalks(t *testing.T) {
	text, err := os.ReadFile("docs/request.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## One request in the code\n")
	section, _, _ = strings.Cut(section, "\n## ")
	tables := strings.Split(section, "|---|---|---|\n")[1:]
	if len(tables) != 2 {
		t.Fatalf("%d tables, want one for each direction", len(tables))
	}
	for _, table := range tables {
		table, _, _ = strings.Cut(table, "\n\n")
		walk(t, strings.Split(strings.TrimSpace(table), "\n"))
	}
}

var quotedName = regexp.MustCompile("`([A-Za-z0-9.]+)`")

// walk checks the rows of one table.
func walk(t *testing.T, rows []string) {
	t.Helper()
	seen := map[string]bool{}
	called := "" // the text of the files so far
	methods := map[string]bool{}
	for i, row := range rows {
		cells := strings.Split(row, "|")
		file := strings.TrimSpace(cells[2])
		names := quotedName.FindAllStringSubmatch(strings.Split(cells[3], ":")[0], -1)
		if len(names) == 0 {
			t.Errorf("%s: no function is named", row)
		}
		if file == "callback" {
			for _, name := range names {
				if !methods[name[1]] {
					t.Errorf("%s is not a function of the files above", name[1])
				}
			}
			continue
		}
		if seen[file] {
			t.Errorf("%s is listed twice", file)
		}
		seen[file] = true
		source, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		defined := functions(t, file, source)
		called += string(source)
		for _, name := range names {
			if !defined[name[1]] {
				t.Errorf("%s has no function %s", file, name[1])
			}
			short := name[1][strings.LastIndexByte(name[1], '.')+1:]
			if i > 0 && short != "Route" && !regexp.MustCompile(`\b`+short+`\b`).MatchString(calls(called, short)) {
				t.Errorf("no file up to %s calls %s", file, name[1])
			}
		}
		for name := range defined {
			methods[name] = true
		}
	}
}

// calls returns the lines of source that name a function and do not declare it.
func calls(source, name string) string {
	var lines []string
	for line := range strings.Lines(source) {
		code, _, _ := strings.Cut(line, "//")
		if !strings.HasPrefix(line, "func ") && strings.Contains(code, name) {
			lines = append(lines, code)
		}
	}
	return strings.Join(lines, "\n")
}

// functions returns the functions that a file declares, methods with the type of their receiver.
func functions(t *testing.T, file string, source []byte) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = receiver(f.Recv.List[0].Type) + "." + name
		}
		out[name] = true
	}
	return out
}

// receiver returns the name of a receiver's type, without a pointer and type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}
