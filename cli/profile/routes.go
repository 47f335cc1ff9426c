// Package profile makes the routes of a ServiceProfile from a description of an API.
//
// It owns how OpenAPI documents and protobuf files become routes. It reads text and asks no cluster. The one idea: what
// a description says and a profile cannot is a note, what the API server would refuse is an error.
package profile

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// Routes are the routes of a profile, and what its author should know about them.
type Routes struct {
	List  []v1alpha1.RouteSpec
	Notes []string
}

// The bounds of a ServiceProfile. Source: install/chart/definitions/linkerd.io_serviceprofiles.yaml.
const (
	maxProfileRoutes   = 1000
	maxRouteName       = 1024
	maxResponseClasses = 32
	minStatus          = 100
	maxStatus          = 599
)

// checkLimits refuses what the API server would refuse, and says what to do.
func (r Routes) checkLimits() error {
	if n := len(r.List); n > maxProfileRoutes {
		return fmt.Errorf("describes %d operations, but a ServiceProfile has at most %d routes: remove the operations "+
			"that need no metrics, "+
			"timeout or retries of their own, or split the document if it describes several Services", n, maxProfileRoutes)
	}
	for _, route := range r.List {
		if utf8.RuneCountInString(route.Name) > maxRouteName ||
			utf8.RuneCountInString(route.Condition.PathRegex) > mesh.MaxRegexBytes {
			return fmt.Errorf("the path of %.80q… is too long: a route's name has at most %d characters, and its pathRegex "+
				"at most %d",
				route.Name, maxRouteName, mesh.MaxRegexBytes)
		}
	}
	return nil
}

// Parse returns the routes that parse finds in a file. It is an error if there are none, or more than a profile may
// have.
func Parse(parse func(name string, data []byte) (Routes, error), name string, data []byte) (Routes, error) {
	found, err := parse(name, data)
	if err != nil {
		return Routes{}, err
	}
	if len(found.List) == 0 {
		return Routes{}, fmt.Errorf("%s: describes no operation", name)
	}
	if err := found.checkLimits(); err != nil {
		return Routes{}, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// FromProto returns a route for each method of each service in a protobuf file.
func FromProto(name string, data []byte) (Routes, error) {
	file, err := parser.Parse(name, bytes.NewReader(data), reporter.NewHandler(nil))
	if err != nil {
		return Routes{}, err // names the file and the line
	}
	var pkg string
	var routes []v1alpha1.RouteSpec
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.PackageNode:
			pkg = string(d.Name.AsIdentifier()) + "."
		case *ast.ServiceNode:
			for _, element := range d.Decls {
				if rpc, ok := element.(*ast.RPCNode); ok {
					routes = append(routes, callRoute(pkg+d.Name.Val, rpc.Name.Val))
				}
			}
		}
	}
	slices.SortStableFunc(routes,
		func(a, b v1alpha1.RouteSpec) int { return cmp.Compare(a.Condition.PathRegex, b.Condition.PathRegex) })
	return Routes{List: routes}, nil
}

// callRoute is the route of a gRPC method. Source: gRPC over HTTP/2, "Path".
func callRoute(service, method string) v1alpha1.RouteSpec {
	return v1alpha1.RouteSpec{
		Name:      method,
		Condition: &v1alpha1.RequestMatch{Method: "POST", PathRegex: regexp.QuoteMeta("/" + service + "/" + method)},
	}
}
