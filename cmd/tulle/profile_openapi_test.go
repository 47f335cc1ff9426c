package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/crds/crdtest"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// TestOpenAPIServers covers where operations are served: the base of every route's path. Source: OpenAPI 3.1 §4.8.5 and
// §4.8.6.
func TestOpenAPIServers(t *testing.T) {
	for name, test := range map[string]struct{ servers, want, note string }{
		"no servers":               {``, "/a", ""},
		"an empty list":            {`servers: []`, "/a", ""},
		"a whole address":          {`servers: [{url: 'https://shop.example:8443/v1'}]`, "/v1/a", ""},
		"without a path":           {`servers: [{url: 'https://shop.example'}]`, "/a", ""},
		"a slash at the end":       {`servers: [{url: 'https://shop.example/v1/'}]`, "/v1/a", ""},
		"relative":                 {`servers: [{url: /v1}]`, "/v1/a", ""},
		"relative without a slash": {`servers: [{url: v1}]`, "/v1/a", ""},
		"relative to the document": {`servers: [{url: ./v1}]`, "/v1/a", ""},
		"without a scheme":         {`servers: [{url: //shop.example/v1}]`, "/v1/a", ""},
		"a query":                  {`servers: [{url: 'https://shop.example/v1?x=//y'}]`, "/v1/a", ""},
		"a port by variable":       {`servers: [{url: 'https://shop.example:{port}/v1', variables: {port: {default: '8443'}}}]`, "/v1/a", ""},
		"a port without a default": {`servers: [{url: 'https://shop.example:{port}/v1'}]`, "/v1/a", ""},
		"a scheme by variable": {
			`servers: [{url: '{scheme}://shop.example/v1', variables: {scheme: {default: https}}}]`, "/v1/a", ""},
		"a scheme without a default": {`servers: [{url: '{scheme}://{host}:{port}/v1'}]`, "/v1/a", ""},
		"a path by variable":         {`servers: [{url: 'https://{host}/{base}/x', variables: {base: {default: v2}}}]`, "/v2/x/a", ""},
		"a number as default":        {`servers: [{url: 'https://shop.example/{base}', variables: {base: {default: 2}}}]`, "/2/a", ""},
		"a path with a slash":        {`servers: [{url: 'https://shop.example/{base}', variables: {base: {default: /api/v2/}}}]`, "/api/v2/a", ""},
		"a path without a default": {`servers: [{url: 'https://shop.example/{tenant}/v1'}]`, "",
			"servers[0].url: variable {tenant} has no default, so its path is not known: set " +
				"servers[0].variables.tenant.default"},
		"an address without a default": {`servers: [{url: '{base}/v1', variables: {bas: {default: /api}}}]`, "",
			"servers[0].url: variable {base} has no default"},
		"the whole address by variable":   {`servers: [{url: '{base}', variables: {base: {default: 'https://shop.example/v3'}}}]`, "/v3/a", ""},
		"a second server":                 {`servers: [{url: /v1}, {url: 'https://shop.example/v1'}]`, "/v1/a", ""},
		"a second server of another path": {`servers: [{url: /v1}, {url: /v2}]`, "/v1/a", "servers[1].url: has the path /v2"},
		"no list":                         {`servers: {url: /v1}`, "", "servers: want a list of objects with a url"},
		"basePath":                        {`basePath: /v1`, "/v1/a", ""},
		"basePath without a slash":        {`basePath: v1/`, "/v1/a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			doc := "openapi: '3.1.0'\npaths: {/a: {get: {}}}\n" + test.servers + "\n"
			r := runCLI(t, noCluster, doc, "profile", "web", "--open-api", "-")
			if (r.code == 0) != (test.want != "") || !strings.Contains(r.err, test.note) || test.note == "" && r.err != "" {
				t.Fatalf("exit code %d, stderr %q; want %q", r.code, r.err, test.note)
			}
			if test.want == "" {
				return
			}
			if diff := cmp.Diff([]string{"GET " + test.want}, profilePaths(t, r.out)); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOpenAPIResponses covers which statuses become response classes. Source: OpenAPI 3.1 §4.8.16.
func TestOpenAPIResponses(t *testing.T) {
	for name, test := range map[string]struct {
		responses string
		want      []v1alpha1.Range
		failures  int
		err       string
	}{
		"a status": {"'200': {}", []v1alpha1.Range{{Min: 200, Max: 200}}, 0, ""},
		"a number": {"404: {}", []v1alpha1.Range{{Min: 404, Max: 404}}, 0, ""},
		"a range":  {"5XX: {}", []v1alpha1.Range{{Min: 500, Max: 599}}, 1, ""},
		"a status and a range": {"5XX: {}, '503': {}, 2XX: {}",
			[]v1alpha1.Range{{Min: 200, Max: 299}, {Min: 503, Max: 503}, {Min: 500, Max: 599}}, 2, ""},
		"default": {"default: {}, x-note: {}", nil, 0, ""},
		"half a range": {"5X: {}", nil, 0,
			"stdin: paths./a.get: responses.5X: want a status such as 404, a range such as 4XX, or default"},
		"no such range": {"6XX: {}", nil, 0, "responses.6XX: want"},
		"a word":        {"ok: {}", nil, 0, "responses.ok: want"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, noCluster, "openapi: 3.1.0\npaths: {/a: {get: {responses: {"+test.responses+"}}}}\n", "profile",
				"web", "--open-api", "-")
			if (r.code == 0) != (test.err == "") || !strings.Contains(r.err, test.err) {
				t.Fatalf("exit code %d, stderr %q; want %q", r.code, r.err, test.err)
			}
			if test.err != "" {
				return
			}
			admitted(t, r.out)
			var profile v1alpha1.ServiceProfile
			if err := yaml.Unmarshal([]byte(strings.TrimSuffix(r.out, "---\n")), &profile); err != nil {
				t.Fatal(err)
			}
			var got []v1alpha1.Range
			failures := 0
			for _, class := range profile.Spec.Routes[0].ResponseClasses {
				got = append(got, *class.Condition.Status)
				if class.IsFailure {
					failures++
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || failures != test.failures {
				t.Errorf("%d failures, want %d; classes (-want +got):\n%s", failures, test.failures, diff)
			}
		})
	}
}

func TestOpenAPIPathsBeginWithASlash(t *testing.T) {
	r := runCLI(t, noCluster, "openapi: 3.1.0\npaths: {x-owner: a, /a: {get: {}}, b: {get: {}}}\n", "profile", "web",
		"--open-api", "-")
	if want := "stdin: paths.b: a path begins with a slash: write /b"; r.code != 1 || r.out != "" ||
		!strings.Contains(r.err, want) {
		t.Errorf("exit code %d, stdout %q, stderr %q; want %q", r.code, r.out, r.err, want)
	}
}

// TestOpenAPIServersOfAPath covers servers that are given for a path or an operation, which come before those of the
// document.
func TestOpenAPIServersOfAPath(t *testing.T) {
	r := runCLI(t, noCluster, `
openapi: 3.0.0
servers: [{url: /v1}]
paths:
  x-owner: somebody
  /a: {get: {}, servers: [{url: /v2}], post: {servers: [{url: 'http://x/{v}', variables: {v: {default: v3}}}]}}
  /b: {get: {}}
  /c: {$ref: other.yaml}
`, "profile", "web", "--open-api", "-")
	want := []string{"GET /v2/a", "POST /v3/a", "GET /v1/b"}
	if diff := cmp.Diff(want, profilePaths(t, r.out)); r.code != 0 || diff != "" {
		t.Errorf("exit code %d, routes (-want +got):\n%s", r.code, diff)
	}
	if want := "note: stdin: paths./c: $ref is not followed: its operations have no routes\n"; r.err != want {
		t.Errorf("stderr %q, want %q", r.err, want)
	}
}

// profilePaths returns the method and the path of each route of a profile.
func profilePaths(t *testing.T, text string) []string {
	t.Helper()
	var profile v1alpha1.ServiceProfile
	if err := yaml.Unmarshal([]byte(strings.TrimSuffix(text, "---\n")), &profile); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range profile.Spec.Routes {
		paths = append(paths, r.Condition.Method+" "+r.Condition.PathRegex)
	}
	return paths
}

// TestProfileIsWhatTheSchemaAdmits generates profiles at the bounds of the ServiceProfile's schema: they are admitted,
// or refused here with what to do.
func TestProfileIsWhatTheSchemaAdmits(t *testing.T) {
	paths := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  /p%d: {get: {}}\n", i)
		}
		return "swagger: '2.0'\npaths:\n" + b.String()
	}
	responses := func(codes ...int) string {
		var b strings.Builder
		for _, code := range codes {
			fmt.Fprintf(&b, "'%d': {}, ", code)
		}
		return "swagger: '2.0'\npaths: {/a: {get: {responses: {" + b.String() + "default: {}}}}}\n"
	}
	timeout := func(text string) string {
		return "swagger: '2.0'\npaths: {/a: {get: {x-linkerd-timeout: " + text + "}}}\n"
	}
	var many []int
	for i := range 33 {
		many = append(many, 200+i)
	}
	service := func(n int) string {
		return "syntax = \"proto3\"; package a; message M {} service S {" + calls(n) + "}"
	}
	for name, test := range map[string]struct{ source, text, note, err string }{
		"as many routes as there may be": {"--open-api", paths(1000), "", ""},
		"too many routes": {"--open-api", paths(1001), "",
			"stdin: describes 1001 operations, but a ServiceProfile has at most 1000 routes: remove"},
		"as many calls as there may be": {"--proto", service(1000), "", ""},
		"too many calls": {"--proto", service(1204), "",
			"stdin: describes 1204 operations, but a ServiceProfile has at most 1000 routes"},
		"a long path": {"--open-api", "swagger: '2.0'\npaths: {/" + strings.Repeat("a", 1019) +
			": {get: {}}}\n", "", ""},
		"a path that is too long": {"--open-api", "swagger: '2.0'\npaths: {/" + strings.Repeat("a", 1020) +
			": {get: {}}}\n", "", "is too long: a route's name has at most 1024 characters"},
		"an expression that is too long": {"--proto", "syntax = \"proto3\"; message M {} service S" +
			strings.Repeat("s", 4096) + " {" + calls(1) + "}", "", "is too long"},
		"as many responses as there may be": {"--open-api", responses(many[:32]...), "", ""},
		"too many responses":                {"--open-api", responses(many...), "GET /a: 33 responses", ""},
		"a status that does not exist": {"--open-api", responses(99, 200, 599, 600, 1000),
			"response 600 has no response class", ""},
		"a timeout":                          {"--open-api", timeout("1m30.5s"), "", ""},
		"a timeout of zero":                  {"--open-api", timeout("'0'"), "", ""},
		"a timeout that begins with a point": {"--open-api", timeout(".5s"), "", ""},
		"a timeout with a sign":              {"--open-api", timeout("'+1s'"), "", ""},
		"the other micro sign":               {"--open-api", timeout("5μs"), "", ""},
		"a timeout below zero": {"--open-api", timeout("-1s"), "",
			"paths./a.get: x-linkerd-timeout: is -1s: want a duration"},
		"a timeout without a unit": {"--open-api", timeout("5"), "",
			"paths./a.get: x-linkerd-timeout: is 5: want a duration"},
		"retryable as a text": {"--open-api",
			"swagger: '2.0'\npaths: {/a: {get: {x-linkerd-retryable: 'true'}}}\n", "", "x-linkerd-retryable: is true: want " +
				"true or false"},
		"the template": {"--template", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"profile", "web", test.source}
			if test.source != "--template" {
				args = append(args, "-")
			}
			r := runCLI(t, noCluster, test.text, args...)
			if test.err != "" {
				if r.code != 1 || r.out != "" || !strings.Contains(r.err, test.err) {
					t.Errorf("exit code %d, stdout %.80q, stderr %.300q; want an error with %q", r.code, r.out, r.err, test.err)
				}
				return
			}
			if r.code != 0 || !strings.Contains(r.err, test.note) || test.note == "" && r.err != "" {
				t.Fatalf("exit code %d, stderr %.300q; want %q", r.code, r.err, test.note)
			}
			admitted(t, r.out)
		})
	}
}

// calls returns n methods of a protobuf service.
func calls(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "rpc C%d (M) returns (M);\n", i)
	}
	return b.String()
}

// admitted fails the test for objects of a manifest that the API server refuses.
func admitted(t *testing.T, text string) {
	t.Helper()
	docs, err := manifest.ReadDocuments("output", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		tree, err := doc.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if err := crdtest.Validate(tree); err != nil {
			text, _ := json.Marshal(tree)
			t.Errorf("%v in\n%.2000s", err, text)
		}
	}
	if len(docs) == 0 {
		t.Error("no documents")
	}
}
