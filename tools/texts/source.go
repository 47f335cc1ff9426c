package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
)

// checkGo checks comments and string literals for habits, lines for their width, and names for retired words. Generated
// files are exempt.
func checkGo(file string, text []byte, dict *dictionary) ([]finding, error) {
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(tree) {
		return nil, nil
	}
	var found []finding
	for _, group := range tree.Comments {
		found = append(found, findHabits(file, files.Position(group.Pos()).Line, commentText(group))...)
	}
	data := map[int]bool{} // lines of string literals that span several, or are raw and long
	ast.Inspect(tree, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		first, last := files.Position(lit.Pos()).Line, files.Position(lit.End()).Line
		if value, err := strconv.Unquote(lit.Value); err == nil {
			if first == last {
				value = strings.ReplaceAll(value, "\n", " ")
			}
			found = append(found, findHabits(file, first, value)...)
		}
		if last > first || lit.Value[0] == '`' && len(lit.Value) > maxColumns/2 {
			for n := first; n <= last; n++ {
				data[n] = true
			}
		}
		return true
	})
	for i, line := range strings.Split(string(text), "\n") {
		if !data[i+1] && !directive.MatchString(line) && !preformatted.MatchString(line) {
			found = append(found, findWide(file, i+1, line)...)
		}
	}
	return append(found, dict.findRetired(file, names(files, tree))...), nil
}

// commentText returns the text of a group, line by line and without directives.
func commentText(group *ast.CommentGroup) string {
	var lines []string
	for _, c := range group.List {
		text := c.Text
		if directive.MatchString(text) {
			text = ""
		}
		lines = append(lines, strings.TrimPrefix(text, "//"))
	}
	return strings.Join(lines, "\n")
}

// A name is an identifier where it is declared.
type name struct {
	text string
	line int
	test bool // a test, a benchmark or a fuzz target
}

// names returns the names that a file declares, and the name of its package and its own.
func names(files *token.FileSet, tree *ast.File) []name {
	at := files.Position(tree.Name.Pos())
	base := strings.TrimSuffix(strings.TrimSuffix(path.Base(at.Filename), ".go"), "_test")
	list := []name{{text: tree.Name.Name, line: at.Line}, {text: strings.ReplaceAll(base, "-", "_"), line: 1}}
	add := func(id *ast.Ident, test bool) {
		if id != nil && id.Name != "_" {
			list = append(list, name{id.Name, files.Position(id.Pos()).Line, test})
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(n.Name, n.Recv == nil && isTest(n.Name.Name))
		case *ast.TypeSpec:
			add(n.Name, false)
		case *ast.Field:
			for _, id := range n.Names {
				add(id, false)
			}
		case *ast.ValueSpec:
			for _, id := range n.Names {
				add(id, false)
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					id, _ := e.(*ast.Ident)
					add(id, false)
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				key, _ := n.Key.(*ast.Ident)
				value, _ := n.Value.(*ast.Ident)
				add(key, false)
				add(value, false)
			}
		case *ast.LabeledStmt:
			add(n.Label, false)
		case *ast.ImportSpec:
			add(n.Name, false)
		}
		return true
	})
	return list
}

func isTest(name string) bool {
	for _, prefix := range []string{"Test", "Benchmark", "Fuzz", "Example"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
