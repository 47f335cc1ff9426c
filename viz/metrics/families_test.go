package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestQueriesNameTheirMetricsByTheTable finds queries in the code of the commands that spell a metric themselves:
// metrics-api would refuse it.
func TestQueriesNameTheirMetricsByTheTable(t *testing.T) {
	queries := 0
	for _, root := range []string{"..", "../../cli", "../../cmd/tulle"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if pair, ok := n.(*ast.KeyValueExpr); ok {
					if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "Metric" {
						queries++
						if _, literal := pair.Value.(*ast.BasicLit); literal {
							t.Errorf("%s: a query spells its metric itself: use a constant of viz/metrics", path)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if queries < 10 {
		t.Errorf("found %d queries only", queries)
	}
	if !Allowed(BucketsOf(ResponseLatency)) || Allowed("up") {
		t.Error("the table is not what Asked reads")
	}
}
