package route

import (
	"bytes"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "": "", "*": "*", "/a/b": "/a/b", "/a/": "/a/",
		"//": "/", "//a//b//": "/a/b/", "/.": "/", "/..": "/", "/a/.": "/a/", "/a/..": "/", "/a/../../b": "/b",
		"/a/b/../c": "/a/c",
		"/...":      "/...", "/.a": "/.a", "/a..": "/a..",
		"/%41%2d%7E": "/A-~", "/%2f": "/%2F", "/%5c": "/%5C", "/%25": "/%25", "/%00": "/%00", "/a%20b": "/a%20b",
		"/%40": "/@", "/%3f": "/%3F", "/%": "/%25", "/%4": "/%254", "/%zz": "/%25zz", "/%%34%31": "/%2541", "/\xff": "/%FF",
		"/%2e%2e/a": "/a", "/a/%2e": "/a/",
	} {
		if got := string(canonical([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestAmbiguous(t *testing.T) {
	for path, want := range map[string]bool{
		"/": false, "": false, "*": false, "/a/b?x=/../": false, "/a%20b": false, "/.well-known": false, "/a;v=1/b": false,
		"//a":     false,
		"/a/../b": true, "/./a": true, "/..": true, "/a/%2e%2e/b": true, "/a/.%2E": true, "/a%2fb": true, "/a%5Cb": true,
		`/a\b`:       true,
		"/%e2%82%ac": false, "/\u20ac": false, "/%c3%a9/a": false, "/%f0%9f%98%80": false, // valid UTF-8
		// over-long forms
		"/a%c0%af": true, "/%c0%ae%c0%ae/a": true, "/%e0%80%af": true, "/%f0%80%80%af": true, "/%c1%9c": true,
		// broken ones
		"/%ff": true, "/\xff": true, "/a\xc0\xaf": true, "/%C0\xaf": true, "/%e2%82": true, "/%e2/%82%ac": true, "/%80": true,
		"/%ed%a0%80": true, "/%f4%90%80%80": true, "/?%c0%af": false, // a surrogate, beyond Unicode, the query
		"/" + strings.Repeat("a", MaxPath-1): false, "/" + strings.Repeat("a", MaxPath): true, "/" +
			strings.Repeat("%41", MaxPath/3+1): true,
		"/" + strings.Repeat("\u00e9", MaxPath/6-1): false, "/" + strings.Repeat("\u00e9", MaxPath/6+1): true, "/" +
			strings.Repeat(" ", MaxPath/3+1): true,
		"/a%00": true, "/a%0a": true, "/%zz": true, "/%4": true, "/%252e": true, "/a/..;/b": true, "/a/.;x=1": true,
	} {
		if got := Ambiguous([]byte(path)); got != want {
			t.Errorf("%q: ambiguous = %v", path, got)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"/a/../b", "//%2e%2E/", "/%%34%31", "/..;/", "/\xff%"} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkCanonical)
}

// Long paths are no seeds: to minimize what grows out of them takes time with the square of their length.
func TestCanonicalOfLongPaths(t *testing.T) {
	checkCanonical(t, []byte("/"+strings.Repeat("\u00e9", MaxPath/3)))
	checkCanonical(t, []byte("/"+strings.Repeat("\xff", MaxPath/2)))
}

func checkCanonical(t *testing.T, path []byte) {
	before := bytes.Clone(path)
	once := canonical(path)
	if !bytes.Equal(path, before) {
		t.Fatalf("%q was changed", before)
	}
	if again := canonical(once); !bytes.Equal(once, again) {
		t.Errorf("%q becomes %q, and that %q", path, once, again)
	}
	Ambiguous(path)
	if len(path) > 0 && path[0] == '/' && (len(once) == 0 || once[0] != '/' || bytes.Contains(once, []byte("//")) ||
		Ambiguous(once) && !Ambiguous(path)) {
		t.Errorf("%q becomes %q", path, once)
	}
}
