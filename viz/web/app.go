package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed all:dist
var embedded embed.FS

// dist has the files that `make web` builds from viz/web/app.
var dist = func() fs.FS {
	files, err := fs.Sub(embedded, "dist")
	if err != nil {
		panic(err) // dist is embedded above
	}
	return files
}()

// asset is one file of the app.
type asset struct {
	contentType, tag string
	plain, zipped    []byte
}

// app has the files of dist by their names, as in assets/index.js.
type app map[string]asset

// loadApp reads the embedded files.
func loadApp() app {
	files := app{}
	err := fs.WalkDir(dist, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		plain, err := fs.ReadFile(dist, name)
		if err != nil {
			return err
		}
		var zipped bytes.Buffer
		zip := gzip.NewWriter(&zipped)
		if _, err := zip.Write(plain); err != nil {
			return err
		}
		if err := zip.Close(); err != nil {
			return err
		}
		files[name] = asset{contentType: mime.TypeByExtension(path.Ext(name)),
			tag: fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(plain))[:32]), plain: plain, zipped: zipped.Bytes()}
		return nil
	})
	if err != nil {
		panic(err) // reading and compressing bytes of this program does not fail
	}
	return files
}

// ServeHTTP serves the files of the app. Every other path is a deep link, which the app reads itself.
func (a app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	file, ok := a[name]
	if !ok && strings.HasPrefix(name, "assets/") { // a file of another version; index.html would hide the mistake
		http.Error(w, "this version of the dashboard has no such file", http.StatusNotFound)
		return
	}
	if !ok {
		file = a["index.html"]
	}
	h.Set("Cache-Control", "no-cache") // the browser asks each time, and gets 304 for an unchanged file
	h.Set("Content-Type", file.contentType)
	h.Set("ETag", file.tag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == file.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := file.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = file.zipped
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the browser went away
	}
}
