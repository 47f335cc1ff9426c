package web

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// TestAppIsSmall bounds what a browser loads at most: every file of the app, compressed.
func TestAppIsSmall(t *testing.T) {
	const most = 150_000
	total := 0
	for name, text := range appFiles(t) {
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%7d bytes, %7d compressed: %s", len(text), packed.Len(), name)
		total += packed.Len()
	}
	t.Logf("%d bytes compressed", total)
	if total > most {
		t.Errorf("the app has %d bytes compressed, more than %d", total, most)
	}
}

// TestAppKeepsThePolicy looks for what the Content-Security-Policy would refuse, and for other hosts.
func TestAppKeepsThePolicy(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"a script or style within the page": regexp.MustCompile(`(?is)<style|\sstyle=|\son[a-z]+=|<script[^>]*>[^<]`),
		"code from text":                    regexp.MustCompile(`\beval\(|new Function\(|dangerouslySetInnerHTML:`),
		"a font":                            regexp.MustCompile(`@font-face|@import`),
	}
	// Names of XML namespaces, and links for readers in messages of libraries.
	host := regexp.MustCompile(`(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+`)
	names := regexp.MustCompile(`^http://www\.w3\.org$`)
	for name, text := range appFiles(t) {
		for what, re := range forbidden {
			if strings.HasSuffix(name, ".js") && strings.HasPrefix(what, "a script") {
				continue
			}
			if found := re.FindString(text); found != "" {
				t.Errorf("%s has %s: %q", name, what, found)
			}
		}
		for _, found := range host.FindAllString(text, -1) {
			if !names.MatchString(found) {
				t.Errorf("%s names another host: %q", name, found)
			}
		}
	}
}

// appFiles returns the embedded files by name.
func appFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(dist, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4 {
		t.Fatalf("the app has %d files; make web builds it", len(files))
	}
	return files
}
