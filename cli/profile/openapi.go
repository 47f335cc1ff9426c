package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// openAPI is what routes are made of. Source: OpenAPI 2.0 and 3.x.
type openAPI struct {
	Swagger  string         `json:"swagger"`
	OpenAPI  string         `json:"openapi"`
	BasePath string         `json:"basePath"` // version 2
	Servers  any            `json:"servers"`  // version 3
	Paths    map[string]any `json:"paths"`
}

// openAPIServer is where operations are served. Source: OpenAPI 3.1 §4.8.5 Server Object.
type openAPIServer struct {
	URL       string `json:"url"`
	Variables map[string]struct {
		Default any `json:"default"` // a string; people write numbers too
	} `json:"variables"`
}

// httpMethods are the keys of a path item that are operations.
var httpMethods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// FromOpenAPI returns a route for each operation, in the order of paths and methods.
func FromOpenAPI(name string, data []byte) (Routes, error) {
	source, err := manifest.ReadDocument(name, data)
	if err != nil {
		return Routes{}, err
	}
	var doc openAPI
	if err := source.DecodeInto(&doc); err != nil {
		return Routes{}, err
	}
	if doc.Swagger == "" && doc.OpenAPI == "" {
		return Routes{}, fmt.Errorf(`%s: not an OpenAPI document: it has neither "swagger" nor "openapi"`, name)
	}
	var found Routes
	base, err := found.basePath("servers", doc.Servers, rooted(doc.BasePath))
	for _, template := range slices.Sorted(maps.Keys(doc.Paths)) {
		item, ok := doc.Paths[template].(map[string]any)
		switch {
		case err != nil || strings.HasPrefix(template, "x-"): // an extension
		case !strings.HasPrefix(template, "/"):
			err = fmt.Errorf("paths.%s: a path begins with a slash: write /%s", template, template)
		case ok:
			err = found.pathItem(base, template, item)
		}
	}
	if err != nil {
		return Routes{}, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// pathItem adds the routes of a path. The path and each operation may have servers of their own.
func (r *Routes) pathItem(base, template string, item map[string]any) error {
	where := "paths." + template
	if item["$ref"] != nil {
		r.note("%s: $ref is not followed: its operations have no routes", where)
	}
	base, err := r.basePath(where+".servers", item["servers"], base)
	if err != nil {
		return err
	}
	for _, method := range httpMethods {
		operation, ok := item[method].(map[string]any)
		if !ok {
			continue
		}
		at := where + "." + method
		base, err := r.basePath(at+".servers", operation["servers"], base)
		if err != nil {
			return err
		}
		route, err := r.operation(strings.ToUpper(method), strings.TrimSuffix(base, "/")+template, operation)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		r.List = append(r.List, route)
	}
	return nil
}

func (r *Routes) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, note) {
		r.Notes = append(r.Notes, note)
	}
}

// basePath returns the path that the first of the servers has, or otherwise where there are none. Other paths are a
// note.
func (r *Routes) basePath(field string, servers any, otherwise string) (string, error) {
	var list []openAPIServer
	data, err := json.Marshal(servers)
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return "", fmt.Errorf("%s: want a list of objects with a url", field)
	}
	if len(list) == 0 {
		return otherwise, nil
	}
	base := ""
	for i, server := range list {
		path := server.path()
		if variable := parameter.FindString(path); variable != "" {
			return "", fmt.Errorf("%s[%d].url: variable %s has no default, so its path is not known: set "+
				"%s[%d].variables.%s.default",
				field, i, variable, field, i, strings.Trim(variable, "{}"))
		}
		if i == 0 {
			base = path
		} else if path != base {
			r.note("%s[%d].url: has the path %s: routes are written for the path %s of the first server only", field, i, path,
				base)
		}
	}
	return base, nil
}

// path returns the path of the server's URL, which may be relative. Variables have their default values. One without a
// default, which the specification does not allow, stays in the path. The rest of the URL does not matter.
func (s openAPIServer) path() string {
	url := parameter.ReplaceAllStringFunc(s.URL, func(variable string) string {
		value := s.Variables[variable[1:len(variable)-1]].Default
		if value == nil {
			return variable
		}
		return fmt.Sprint(value)
	})
	url, _, _ = strings.Cut(url, "#")
	url, _, _ = strings.Cut(url, "?")
	if _, rest, ok := strings.Cut(url, "//"); ok { // behind a scheme, or in its place (RFC 3986 §4.2)
		_, url, _ = strings.Cut(rest, "/")
	}
	return rooted(url)
}

// rooted returns the path without dots and without a slash at its end, but for "/".
func rooted(p string) string { return path.Clean("/" + p) }

// timeoutText is what a profile's timeout may be. Source: install/chart/definitions/linkerd.io_serviceprofiles.yaml.
var timeoutText = regexp.MustCompile(`^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$`)

// operation returns the route of an operation.
func (r *Routes) operation(method, path string, operation map[string]any) (v1alpha1.RouteSpec, error) {
	route := v1alpha1.RouteSpec{
		Name:      method + " " + path,
		Condition: &v1alpha1.RequestMatch{Method: method, PathRegex: pathRegex(path)},
	}
	var ok bool
	if retryable := operation["x-linkerd-retryable"]; retryable != nil {
		if route.IsRetryable, ok = retryable.(bool); !ok {
			return route, fmt.Errorf("x-linkerd-retryable: is %v: want true or false", retryable)
		}
	}
	if timeout := operation["x-linkerd-timeout"]; timeout != nil {
		route.Timeout = fmt.Sprint(timeout)
		d, err := time.ParseDuration(route.Timeout)
		if err != nil || d < 0 {
			return route, fmt.Errorf("x-linkerd-timeout: is %v: want a duration with its unit, such as 300ms", timeout)
		}
		if len(route.Timeout) > 64 || !timeoutText.MatchString(route.Timeout) {
			route.Timeout = d.String()
		}
	}
	responses, _ := operation["responses"].(map[string]any)
	for _, code := range slices.Sorted(maps.Keys(responses)) { // 404 comes before 4XX, as it has to
		if code == "default" || strings.HasPrefix(code, "x-") {
			continue
		}
		first, last, ok := statuses(code)
		if !ok {
			return route, fmt.Errorf("responses.%s: want a status such as 404, a range such as 4XX, or default", code)
		}
		if first < minStatus || last > maxStatus {
			r.note("%s: response %s has no response class: want a status from %d to %d", route.Name, code, minStatus, maxStatus)
			continue
		}
		route.ResponseClasses = append(route.ResponseClasses, v1alpha1.ResponseClass{
			Condition: &v1alpha1.ResponseMatch{Status: &v1alpha1.Range{Min: first, Max: last}}, IsFailure: first >= 500,
		})
	}
	if n := len(route.ResponseClasses); n > maxResponseClasses {
		r.note("%s: %d responses, but a route has at most %d response classes: left out, and statuses from 500 count as "+
			"failures",
			route.Name, n, maxResponseClasses)
		route.ResponseClasses = nil
	}
	return route, nil
}

// statuses reads the key of a response: a status, or a range such as 5XX. Source: OpenAPI 3.1 §4.8.16 Responses Object.
func statuses(code string) (first, last uint32, ok bool) {
	if class, isRange := strings.CutSuffix(strings.ToUpper(code), "XX"); isRange && len(class) == 1 && class >= "1" &&
		class <= "5" {
		first = uint32(class[0]-'0') * 100
		return first, first + 99, true
	}
	status, err := strconv.ParseUint(code, 10, 32)
	return uint32(status), uint32(status), err == nil
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
