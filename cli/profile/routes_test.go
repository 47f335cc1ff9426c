package profile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRoutes covers the two descriptions that routes are made of, and what is wrong with one.
func TestRoutes(t *testing.T) {
	for name, test := range map[string]struct {
		parse func(string, []byte) (Routes, error)
		text  string
		want  []string // method and expression of each route
		err   string
	}{
		"OpenAPI": {FromOpenAPI, "openapi: 3.1.0\nservers: [{url: /v1}]\npaths: {/b: {get: {}}, '/a/{id}.x': {put: {}}}\n",
			[]string{`PUT /v1/a/[^/]*\.x`, "GET /v1/b"}, ""},
		"protobuf": {FromProto, "syntax = \"proto3\"; package a; message M {} service S { rpc C (M) returns (M); }",
			[]string{`POST /a\.S/C`}, ""},
		"no OpenAPI":  {FromOpenAPI, "a: 1\n", nil, `f: not an OpenAPI document`},
		"no protobuf": {FromProto, "syntax = ;", nil, "f:1:"},
	} {
		t.Run(name, func(t *testing.T) {
			routes, err := test.parse("f", []byte(test.text))
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			var got []string
			for _, r := range routes.List {
				got = append(got, r.Condition.Method+" "+r.Condition.PathRegex)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}
