package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// openAPI is what routes are made of. Source: OpenAPI 2.0 and 3.x.
type openAPI struct {
	Swagger  string `json:"swagger"`
	OpenAPI  string `json:"openapi"`
	BasePath string `json:"basePath"` // version 2
	Servers  []struct {
		URL string `json:"url"`
	} `json:"servers"` // version 3
	Paths map[string]map[string]any `json:"paths"`
}

// httpMethods are the keys of a path item that are operations.
var httpMethods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// openAPIRoutes returns a route for each operation, in the order of paths and methods.
func openAPIRoutes(_ string, data []byte) ([]v1alpha1.RouteSpec, error) {
	var doc openAPI
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.Swagger == "" && doc.OpenAPI == "" {
		return nil, errors.New(`not an OpenAPI document: it has neither "swagger" nor "openapi"`)
	}
	base := doc.BasePath
	if len(doc.Servers) > 0 {
		u, err := url.Parse(doc.Servers[0].URL)
		if err != nil {
			return nil, fmt.Errorf("servers[0].url: %w", err)
		}
		base = u.Path
	}
	var routes []v1alpha1.RouteSpec
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range httpMethods {
			operation, ok := doc.Paths[path][method].(map[string]any)
			if !ok {
				continue
			}
			route, err := operationRoute(strings.ToUpper(method), strings.TrimSuffix(base, "/")+path, operation)
			if err != nil {
				return nil, fmt.Errorf("paths.%s.%s: %w", path, method, err)
			}
			routes = append(routes, route)
		}
	}
	return routes, nil
}

func operationRoute(method, path string, operation map[string]any) (v1alpha1.RouteSpec, error) {
	route := v1alpha1.RouteSpec{
		Name:      method + " " + path,
		Condition: &v1alpha1.RequestMatch{Method: method, PathRegex: pathRegex(path)},
	}
	route.IsRetryable, _ = operation["x-linkerd-retryable"].(bool)
	if timeout, ok := operation["x-linkerd-timeout"].(string); ok {
		if _, err := time.ParseDuration(timeout); err != nil {
			return route, fmt.Errorf("x-linkerd-timeout: %w", err)
		}
		route.Timeout = timeout
	}
	responses, _ := operation["responses"].(map[string]any)
	for _, code := range slices.Sorted(maps.Keys(responses)) {
		status, err := strconv.ParseUint(code, 10, 32)
		if err != nil { // "default", or a range such as 5XX
			continue
		}
		route.ResponseClasses = append(route.ResponseClasses, v1alpha1.ResponseClass{
			Condition: &v1alpha1.ResponseMatch{Status: &v1alpha1.Range{Min: uint32(status), Max: uint32(status)}}, IsFailure: status >= 500,
		})
	}
	return route, nil
}

// parameter is a part of a path template. Source: OpenAPI 3.1 §4.8.2 Path Templating.
var parameter = regexp.MustCompile(`\{[^}]*\}`)

// pathRegex returns the expression that a path template stands for: a parameter is one segment, or a part of one.
func pathRegex(path string) string {
	var b strings.Builder
	end := 0
	for _, at := range parameter.FindAllStringIndex(path, -1) {
		b.WriteString(regexp.QuoteMeta(path[end:at[0]]) + "[^/]*")
		end = at[1]
	}
	return b.String() + regexp.QuoteMeta(path[end:])
}

// protoRoutes returns a route for each method of each service in a protobuf file.
func protoRoutes(name string, data []byte) ([]v1alpha1.RouteSpec, error) {
	file, err := parser.Parse(name, bytes.NewReader(data), reporter.NewHandler(nil))
	if err != nil {
		return nil, err
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
	slices.SortStableFunc(routes, func(a, b v1alpha1.RouteSpec) int { return cmp.Compare(a.Condition.PathRegex, b.Condition.PathRegex) })
	return routes, nil
}

// callRoute is the route of a gRPC method. Source: gRPC over HTTP/2, "Path".
func callRoute(service, method string) v1alpha1.RouteSpec {
	return v1alpha1.RouteSpec{
		Name:      method,
		Condition: &v1alpha1.RequestMatch{Method: "POST", PathRegex: regexp.QuoteMeta("/" + service + "/" + method)},
	}
}
