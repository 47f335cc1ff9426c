package route

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://www.foo.com", "https://www.foo.com", true},
		{"https://www.foo.com", "https://WWW.foo.com", true},
		{"https://www.foo.com", "http://www.foo.com", false},
		{"https://www.foo.com", "https://www.foo.com:8443", false},
		{"https://www.foo.com", "https://www.foo.com:443", true},
		{"https://www.foo.com:443", "https://www.foo.com", true},
		{"https://www.foo.com", "https://www.foo.com.evil.org", false},
		{"https://*.bar.com", "https://www.bar.com", true},
		{"https://*.bar.com", "https://xpto.www.bar.com", true},
		{"https://*.bar.com", "https://bar.com", false},
		{"https://*.bar.com", "https://evilbar.com", false},
		{"https://*.bar.com", "https://*.bar.com", false},
		{"http://*", "http://anything.example:80", true},
		{"http://*", "https://anything.example", false},
		{"http://*:8080", "http://anything.example:8080", true},
		{"*", "https://anything.example", true},
		{"*", "null", true},
		{"https://*.bar.com", "null", false},
		{"https://*.bar.com", "", false},
	} {
		cors, err := compileCORS(&mesh.CORS{AllowOrigins: []string{c.pattern}})
		if err != nil {
			t.Fatal(err)
		}
		if got := cors.allows(c.origin); got != c.want {
			t.Errorf("%s allows %s: %v", c.pattern, c.origin, got)
		}
	}
}

func TestPreflight(t *testing.T) {
	ask := []string{"Origin: https://a.org", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-one, x-two"}
	for what, c := range map[string]struct {
		cors    mesh.CORS
		fields  []string
		allowed bool
		want    []string
	}{
		"an origin of the list": {
			mesh.CORS{
				AllowOrigins: []string{"https://a.org", "https://b.org"}, AllowMethods: []string{"GET", "PUT"}, AllowHeaders: []string{"x-one"},
				AllowCredentials: true, MaxAge: time.Hour,
			}, ask, true,
			[]string{
				"vary: Origin", "access-control-allow-origin: https://a.org", "access-control-allow-credentials: true",
				"access-control-allow-methods: GET, PUT", "access-control-allow-headers: x-one", "access-control-max-age: 3600",
			},
		},
		"another origin": {mesh.CORS{AllowOrigins: []string{"https://b.org"}, AllowMethods: []string{"*"}}, ask, false, []string{"vary: Origin"}},
		"anything goes": {
			mesh.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}}, ask, true,
			[]string{
				"access-control-allow-origin: *", "access-control-allow-methods: *", "access-control-allow-headers: *",
				"access-control-max-age: 5",
			},
		},
		"anything goes, with credentials": {
			mesh.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"},
				AllowCredentials: true}, ask, true,
			[]string{
				"vary: Origin", "access-control-allow-origin: https://a.org", "access-control-allow-credentials: true",
				"access-control-allow-methods: PUT", "access-control-allow-headers: x-one, x-two", "access-control-max-age: 5",
			},
		},
		"with credentials, no headers asked for": {
			mesh.CORS{AllowOrigins: []string{"https://a.org"}, AllowHeaders: []string{"*"}, AllowCredentials: true}, ask[:2], true,
			[]string{
				"vary: Origin", "access-control-allow-origin: https://a.org", "access-control-allow-credentials: true", "access-control-max-age: 5",
			},
		},
	} {
		req, res := get("OPTIONS", "/", c.fields...), &message.Head{}
		h := hit(t, mesh.Match{}, req, mesh.Filter{CORS: &c.cors})
		if preflight, allowed := h.Rule.CORS.Preflight(req, res); !preflight || allowed != c.allowed {
			t.Errorf("%s: preflight = %v, allowed = %v", what, preflight, allowed)
		}
		if diff := cmp.Diff(c.want, fields(res)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for what, req := range map[string]*message.Head{
		"another method":  get("GET", "/", ask...),
		"no origin":       get("OPTIONS", "/", ask[1]),
		"no method asked": get("OPTIONS", "/", ask[0]),
	} {
		cors, _ := compileCORS(&mesh.CORS{AllowOrigins: []string{"*"}})
		if preflight, _ := cors.Preflight(req, &message.Head{}); preflight {
			t.Errorf("%s: taken for a preflight request", what)
		}
	}
}

func TestResponsesAreMarked(t *testing.T) {
	listed := mesh.CORS{AllowOrigins: []string{"https://a.org"}, ExposeHeaders: []string{"x-a", "x-b"}}
	for what, c := range map[string]struct {
		cors   mesh.CORS
		origin string
		before []string
		want   []string
	}{
		"an origin of the list": {
			listed, "Origin: https://a.org", []string{"access-control-allow-origin: *", "access-control-allow-credentials: true"},
			[]string{"access-control-allow-origin: https://a.org", "vary: Origin", "access-control-expose-headers: x-a, x-b"},
		},
		"another origin": {listed, "Origin: https://b.org", nil, []string{"vary: Origin"}},
		"no origin":      {listed, "x: y", []string{"Vary: accept, origin"}, []string{"Vary: accept, origin"}},
		"every origin": {mesh.CORS{AllowOrigins: []string{"*"}}, "Origin: null", nil,
			[]string{"access-control-allow-origin: *"}},
		"every, and none":   {mesh.CORS{AllowOrigins: []string{"*"}}, "x: y", nil, nil},
		"exposing anything": {mesh.CORS{AllowOrigins: []string{"*"}, ExposeHeaders: []string{"*"}, AllowCredentials: true}, "Origin: http://a", nil, []string{"vary: Origin", "access-control-allow-origin: http://a", "access-control-allow-credentials: true"}},
	} {
		req, res := get("GET", "/", c.origin), get("", "", c.before...)
		h := hit(t, mesh.Match{}, req, mesh.Filter{CORS: &c.cors})
		h.Rule.CORS.Mark(req, res)
		if diff := cmp.Diff(c.want, fields(res)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}
