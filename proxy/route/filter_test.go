package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// hit compiles a rule of the match and filters, and sends the request there.
func hit(t *testing.T, m mesh.Match, req *message.Head, filters ...mesh.Filter) Hit {
	t.Helper()
	table := CompileRoutes([]mesh.Route{{Rules: []mesh.Rule{{Matches: []mesh.Match{m}, Filters: filters}}}})
	h, ok := table.Match(req)
	if !ok || h.Rule.Invalid != "" {
		t.Fatalf("%s does not match, or the rule is invalid: %+v", req.Path(), h.Rule)
	}
	return h
}

func fields(h *message.Head) (out []string) {
	for name, value := range h.All() {
		out = append(out, string(name)+": "+string(value))
	}
	return out
}

func TestHeaderModifier(t *testing.T) {
	for what, c := range map[string]struct {
		before []string
		edit   mesh.HeaderModifier
		after  []string
	}{
		"set what is there, in any case and however often": {
			[]string{"X-Set: old", "other: 1", "x-set: older"},
			mesh.HeaderModifier{Set: []mesh.Header{{Name: "x-set", Value: "new"}}},
			[]string{"X-Set: new", "other: 1"},
		},
		"set what is not there": {nil, mesh.HeaderModifier{Set: []mesh.Header{{Name: "x", Value: "1"}}}, []string{"x: 1"}},
		"add what is not there": {nil, mesh.HeaderModifier{Add: []mesh.Header{{Name: "x", Value: "1"}}}, []string{"x: 1"}},
		"add to what is there": {
			[]string{"X: a", "y: 1", "x: b"}, mesh.HeaderModifier{Add: []mesh.Header{{Name: "x", Value: "c"}}},
			[]string{"y: 1", "x: a,b,c"},
		},
		"cookies are set by a line each": {
			[]string{"set-cookie: a=1"}, mesh.HeaderModifier{Add: []mesh.Header{{Name: "set-cookie", Value: "b=2"}}},
			[]string{"set-cookie: a=1", "set-cookie: b=2"},
		},
		"remove every line": {[]string{"X: a", "y: 1", "x: b"}, mesh.HeaderModifier{Remove: []string{"x"}}, []string{"y: 1"}},
		"in order": {
			[]string{"a: 1"},
			mesh.HeaderModifier{
				Set: []mesh.Header{{Name: "b", Value: "1"}}, Add: []mesh.Header{{Name: "b", Value: "2"}}, Remove: []string{"a"},
			},
			[]string{"b: 1,2"},
		},
	} {
		h := get("GET", "/", c.before...)
		f := hit(t, mesh.Match{}, h, mesh.Filter{RequestHeaders: &c.edit}, mesh.Filter{ResponseHeaders: &c.edit})
		f.Rule.EditRequest(h, f)
		if diff := cmp.Diff(c.after, fields(h)); diff != "" {
			t.Errorf("%s, request (-want +got):\n%s", what, diff)
		}
		res := &message.Head{Status: 200}
		for _, line := range c.before {
			name, value, _ := strings.Cut(line, ": ")
			res.Add(name, value)
		}
		f.Rule.EditResponse(res)
		if diff := cmp.Diff(c.after, fields(res)); diff != "" {
			t.Errorf("%s, response (-want +got):\n%s", what, diff)
		}
	}
}

func TestHostIsAHeaderOfRoutes(t *testing.T) {
	h := get("GET", "/")
	f := hit(t, mesh.Match{}, h, mesh.Filter{
		RequestHeaders: &mesh.HeaderModifier{Set: []mesh.Header{{Name: "host", Value: "other:81"}}}})
	f.Rule.EditRequest(h, f)
	if got := string(h.Authority()); got != "other:81" || h.Has("host") {
		t.Errorf("authority %q, fields %v", got, fields(h))
	}
}

// Gateway API, table of HTTPPathModifier.replacePrefixMatch, and what it leaves out.
func TestPathModifier(t *testing.T) {
	full := func(v string) *mesh.PathModifier { return &mesh.PathModifier{Value: v} }
	replace := func(v string) *mesh.PathModifier { return &mesh.PathModifier{Prefix: true, Value: v} }
	for _, c := range []struct {
		match  mesh.Match
		path   string
		change *mesh.PathModifier
		want   string
	}{
		{prefix("/foo"), "/foo/bar", replace("/xyz"), "/xyz/bar"},
		{prefix("/foo"), "/foo/bar", replace("/xyz/"), "/xyz/bar"},
		{prefix("/foo/"), "/foo/bar", replace("/xyz"), "/xyz/bar"},
		{prefix("/foo/"), "/foo/bar", replace("/xyz/"), "/xyz/bar"},
		{prefix("/foo"), "/foo", replace("/xyz"), "/xyz"},
		{prefix("/foo"), "/foo/", replace("/xyz"), "/xyz/"},
		{prefix("/foo"), "/foo/bar", replace(""), "/bar"},
		{prefix("/foo"), "/foo/", replace(""), "/"},
		{prefix("/foo"), "/foo", replace(""), "/"},
		{prefix("/foo"), "/foo/", replace("/"), "/"},
		{prefix("/foo"), "/foo", replace("/"), "/"},
		{prefix("/"), "/foo", replace("/xyz"), "/xyz/foo"},
		{mesh.Match{}, "/foo", replace("/xyz"), "/xyz/foo"},
		{prefix("/foo"), "/foo/bar?a=/foo&b", replace("/xyz"), "/xyz/bar?a=/foo&b"},
		{prefix("/foo"), "/x/../%66oo/b%2Fr", replace("/xyz"), "/xyz/b%2Fr"},
		{prefix("/foo"), "/foo/bar?q", full("/one/two"), "/one/two?q"},
		{exact("/foo"), "/foo", full("/one"), "/one"},
		{prefix("/foo"), "/foo/bar", full(""), "/"},
	} {
		h := get("GET", c.path)
		f := hit(t, c.match, h, mesh.Filter{Rewrite: &mesh.Rewrite{Host: "one.example", Path: c.change}})
		f.Rule.EditRequest(h, f)
		if got := string(h.Path()); got != c.want || string(h.Authority()) != "one.example" {
			t.Errorf("%s of %s with %+v: got %s of %s, want %s", c.path, c.match.Value, *c.change, got, h.Authority(), c.want)
		}
	}
	for method, target := range map[string]string{"OPTIONS": "*", "CONNECT": ""} {
		h := get(method, target)
		f := hit(t, mesh.Match{}, h, mesh.Filter{Rewrite: &mesh.Rewrite{Path: full("/one")}})
		if f.Rule.EditRequest(h, f); string(h.Path()) != target {
			t.Errorf("%s %q becomes %q", method, target, h.Path())
		}
	}
}

// Gateway API, HTTPRequestRedirectFilter: what is not set comes from the request, and which ports are left out.
func TestLocation(t *testing.T) {
	for _, c := range []struct {
		redirect mesh.Redirect
		host     string
		port     uint16
		want     string
	}{
		{mesh.Redirect{}, "cart.shop", 80, "http://cart.shop/foo/bar?q"},
		{mesh.Redirect{}, "cart.shop:8080", 8080, "http://cart.shop:8080/foo/bar?q"},
		{mesh.Redirect{}, "cart.shop", 8080, "http://cart.shop:8080/foo/bar?q"},
		{mesh.Redirect{Host: "example.org"}, "cart.shop", 80, "http://example.org/foo/bar?q"},
		{mesh.Redirect{Scheme: "https"}, "cart.shop:8080", 8080, "https://cart.shop/foo/bar?q"},
		{mesh.Redirect{Scheme: "http"}, "cart.shop:8080", 8080, "http://cart.shop/foo/bar?q"},
		{mesh.Redirect{Scheme: "ftp"}, "cart.shop", 8080, "ftp://cart.shop:8080/foo/bar?q"},
		{mesh.Redirect{Port: 8083}, "cart.shop", 80, "http://cart.shop:8083/foo/bar?q"},
		{mesh.Redirect{Port: 80}, "cart.shop:8080", 8080, "http://cart.shop/foo/bar?q"},
		{mesh.Redirect{Port: 443}, "cart.shop", 80, "http://cart.shop:443/foo/bar?q"},
		{mesh.Redirect{Scheme: "https", Port: 443}, "cart.shop", 80, "https://cart.shop/foo/bar?q"},
		{mesh.Redirect{Scheme: "https", Port: 8443, Host: "e.org"}, "cart.shop", 80, "https://e.org:8443/foo/bar?q"},
		{mesh.Redirect{Path: &mesh.PathModifier{Value: "/full"}}, "cart.shop", 80, "http://cart.shop/full?q"},
		{mesh.Redirect{Path: &mesh.PathModifier{Prefix: true, Value: "/new"}}, "cart.shop", 80, "http://cart.shop/new/bar?q"},
		{mesh.Redirect{}, "[fd00::1]:8080", 8080, "http://[fd00::1]:8080/foo/bar?q"},
		{mesh.Redirect{Scheme: "https"}, "[fd00::1]", 80, "https://[fd00::1]/foo/bar?q"},
		{mesh.Redirect{Scheme: "https"}, "", 80, "/foo/bar?q"},
	} {
		h := get("GET", "/foo/bar?q")
		h.SetPart(message.Authority, c.host)
		c.redirect.Status = 302
		f := hit(t, prefix("/foo"), h, mesh.Filter{Redirect: &c.redirect})
		if got := Location(f.Rule.Redirect, h, f, c.port); got != c.want {
			t.Errorf("%+v of %s, port %d: got %s, want %s", c.redirect, c.host, c.port, got, c.want)
		}
	}
}

func TestFiltersThatBreakMessagesAreRefused(t *testing.T) {
	set := func(name, value string) mesh.Filter {
		return mesh.Filter{RequestHeaders: &mesh.HeaderModifier{Set: []mesh.Header{{Name: name, Value: value}}}}
	}
	for want, f := range map[string]mesh.Filter{
		"content-length belongs to the connection": set("content-length", "0"),
		"transfer-encoding belongs": {
			ResponseHeaders: &mesh.HeaderModifier{Remove: []string{"transfer-encoding"}}},
		"l5d-client-id belongs to the mesh":       set("l5d-client-id", "admin"),
		"is not a value for the header x":         set("x", "a\r\nb: c"),
		`"a b" is not the name of a header`:       set("a b", "c"),
		`":path" is not the name of a header`:     set(":path", "/"),
		`"X" is not the name of a header`:         set("X", "1"),
		`"a/b" is not a host`:                     set("host", "a/b"),
		"rewrite to \"a b\", which is not a host": {Rewrite: &mesh.Rewrite{Host: "a b"}},
		`rewrite to "x", which is not a path`:     {Rewrite: &mesh.Rewrite{Path: &mesh.PathModifier{Value: "x"}}},
		`redirect to "/a b", which is not a path`: {Redirect: &mesh.Redirect{Path: &mesh.PathModifier{Value: "/a b"}}},
		`redirect to the scheme "a:b"`:            {Redirect: &mesh.Redirect{Scheme: "a:b"}},
		"a match of the rule has none":            {Rewrite: &mesh.Rewrite{Path: &mesh.PathModifier{Prefix: true}}},
		`CORS: "example.org" is not an origin`:    {CORS: &mesh.CORS{AllowOrigins: []string{"example.org"}}},
		"a filter without content":                {},
	} {
		table := CompileRoutes([]mesh.Route{{Rules: []mesh.Rule{{
			Matches: []mesh.Match{exact("/")}, Filters: []mesh.Filter{f},
			Backends: []mesh.WeightedBackend{{Filters: []mesh.Filter{f}}},
		}}}})
		r := table.Rules()[0]
		if !strings.Contains(r.Invalid, want) || !strings.Contains(r.Backends[0].Invalid, want) {
			t.Errorf("want %q; the rule is invalid for %q and its backend for %q", want, r.Invalid, r.Backends[0].Invalid)
		}
	}
}

func TestThePathIsRewrittenOnce(t *testing.T) {
	f := []mesh.Filter{{Rewrite: &mesh.Rewrite{Path: &mesh.PathModifier{Value: "/x"}}}}
	table := CompileRoutes([]mesh.Route{{Rules: []mesh.Rule{{
		Matches: []mesh.Match{{}}, Filters: f, Backends: []mesh.WeightedBackend{{Filters: f}, {}},
	}}}})
	if r := table.Rules()[0]; r.Invalid != "" || r.Backends[0].Invalid == "" || r.Backends[1].Invalid != "" {
		t.Errorf("the rule is invalid for %q, its backends for %q and %q", r.Invalid, r.Backends[0].Invalid,
			r.Backends[1].Invalid)
	}
}

func TestPick(t *testing.T) {
	weights := []uint32{70, 0, 29, 1}
	var backends []mesh.WeightedBackend
	for _, w := range weights {
		backends = append(backends, mesh.WeightedBackend{Weight: w})
	}
	r := CompileRoutes([]mesh.Route{{Rules: []mesh.Rule{{Backends: backends}}}}).Rules()[0]
	for _, seed := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		got := make([]int, len(weights))
		for draw, i := seed, 1; i <= 10_000; draw, i = draw+Step, i+1 {
			got[r.Pick(draw).ID]++
			for id, w := range weights { // at every moment, not in the end only
				if diff := float64(got[id]) - float64(i)*float64(w)/100; diff < -4 || diff > 4 {
					t.Fatalf("seed %d: after %d requests, backend %d of weight %d had %d", seed, i, id, w, got[id])
				}
			}
		}
	}
	if b := (&Rule{Backends: make([]Backend, 2)}).Pick(1); b != nil {
		t.Errorf("without weights: got %+v", b)
	}
}
