package authz

import (
	"net/url"
	"strings"
	"testing"
)

func TestCanonicalPath(t *testing.T) {
	for in, want := range map[string]string{
		"/":                  "/",
		"/a/b":               "/a/b",
		"/a/b/":              "/a/b/",
		"/a/b?x=//../%2f":    "/a/b?x=//../%2f",
		"*":                  "*",
		"":                   "",
		"/%61dmin":           "/admin",
		"/users/%40me":       "/users/@me",
		"/a%7eb%7E":          "/a~b~",
		"/caf%c3%a9":         "/caf%C3%A9",
		"/caf\xc3\xa9":       "/caf%C3%A9",
		"/a|b":               "/a%7Cb",
		"/a%20b":             "/a%20b",
		"/a%3fb":             "/a%3Fb",
		"/a%252fb":           "/a%252fb",
		"/.well-known/x":     "/.well-known/x",
		"/a..b/...":          "/a..b/...",
		"/matrix;a=b/c;d":    "/matrix;a=b/c;d",
		"/shop.Cart/AddItem": "/shop.Cart/AddItem",
	} {
		out, changed, ok := canonicalPath(nil, []byte(in))
		if !ok || string(out) != want || changed != (in != want) {
			t.Errorf("%q: got %q, changed %v, ok %v; want %q", in, out, changed, ok, want)
		}
	}
}

func TestAmbiguousPaths(t *testing.T) {
	for _, in := range []string{
		"/a/../b", "/..", "/../", "/a/..", "/./a", "/a/.", "/a/%2e%2e/b", "/a/.%2E/b", "/%2e/", "//", "//a", "/a//b", "/a//", "/a%2fb",
		"/a%2Fb", "/a%5cb", `/a\b`, `/a\..\b`, "/a%00b", "/a%", "/a%4", "/a%zz", "/a%4?x=41", "/a/..;x=1/b", "/;/../a", "/a/%2e%2e;/b",
		"a", "?x", "*/a", "http://cart/a",
	} {
		if out, _, ok := canonicalPath(nil, []byte(in)); ok {
			t.Errorf("%q: taken as %q, want ambiguous", in, out)
		}
	}
}

// FuzzCanonicalPath shows that a canonical path is one that every reader understands alike: canonical again, decoded to the same bytes
// by net/url, and with nothing left that moves it elsewhere.
func FuzzCanonicalPath(f *testing.F) {
	for _, seed := range []string{"/a/b?c", "/%61/%2e", "/a;b/..;/c", `/\`, "/%e4%00", "/a//"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if strings.ContainsAny(in, "#") || !strings.HasPrefix(in, "/") {
			return
		}
		out, _, ok := canonicalPath(nil, []byte(in))
		if !ok {
			return
		}
		again, changed, ok := canonicalPath(nil, out)
		if !ok || changed || string(again) != string(out) {
			t.Fatalf("%q is %q, then %q (%v)", in, out, again, ok)
		}
		path, _, _ := strings.Cut(in, "?")
		canonical, _, _ := strings.Cut(string(out), "?")
		want, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q was taken: %v", in, err)
		}
		if got, err := url.PathUnescape(canonical); err != nil || got != want {
			t.Fatalf("%q means %q, its canonical spelling %q means %q (%v)", path, want, canonical, got, err)
		}
		for segment := range strings.SplitSeq(want, "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("%q was taken, and moves", in)
			}
		}
	})
}

func BenchmarkCanonicalPath(b *testing.B) {
	path := []byte("/api/v1/carts/4711/items?expand=all&page=2")
	for b.Loop() {
		canonicalPath(nil, path)
	}
}
