package pack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const ref = "ghcr.io/tulle-mesh/proxy:v1"

func spec(t *testing.T, modTime time.Time) Spec {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("\x7fELF not really"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(program, modTime, modTime); err != nil {
		t.Fatal(err)
	}
	return Spec{
		Files: map[string]string{"/tulle-proxy": program, "etc/tulle/config": program}, Entrypoint: []string{"/tulle-proxy"},
		User: "65534:65534", Architecture: "amd64",
		Labels: map[string]string{"org.opencontainers.image.version": "v1", "a": "b"},
	}
}

func archive(t *testing.T, s Spec) []byte {
	t.Helper()
	img, err := Build(s)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := Write(&buf, ref, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestTwoBuildsOfOneInputAreTheSameBytes(t *testing.T) {
	first := archive(t, spec(t, time.Unix(1, 0)))
	second := archive(t, spec(t, time.Unix(2_000_000_000, 0)))
	if !bytes.Equal(first, second) {
		t.Errorf("archives differ: %d and %d bytes", len(first), len(second))
	}
}

// docker load before version 25 reads manifest.json; go-containerregistry's tarball package reads it the same way.
func TestArchiveIsReadAsDockerArchive(t *testing.T) {
	data := archive(t, spec(t, time.Unix(1, 0)))
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := config.Config.User, "65534:65534"; got != want {
		t.Errorf("user: got %q, want %q", got, want)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("layers: got %d, %v, want 1", len(layers), err)
	}
}

func TestArchiveIsAValidOCILayout(t *testing.T) {
	dir := t.TempDir()
	unpack(t, archive(t, spec(t, time.Unix(1, 0))), dir)
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := manifest.Manifests[0].Annotations["io.containerd.image.name"]; got != ref {
		t.Errorf("image name: got %q, want %q", got, ref)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Annotations["org.opencontainers.image.version"]; got != "v1" {
		t.Errorf("version annotation: got %q, want v1", got)
	}
}

func TestLayerHoldsFoldersBeforeFilesAndKeepsOnlyExecutability(t *testing.T) {
	data, err := layer(spec(t, time.Unix(1, 0)).Files)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Name string
		Mode int64
	}
	var got []entry
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry{h.Name, h.Mode})
	}
	want := []entry{{"tulle-proxy", 0o755}, {"etc/", 0o755}, {"etc/tulle/", 0o755}, {"etc/tulle/config", 0o755}}
	if g, w := mustJSON(t, got), mustJSON(t, want); g != w {
		t.Errorf("got %s, want %s", g, w)
	}
}

func TestErrors(t *testing.T) {
	if _, err := Build(Spec{}); err == nil {
		t.Error("an image without files was built")
	}
	if _, err := Build(Spec{Files: map[string]string{"/a": "/does/not/exist"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v, want %v", err, fs.ErrNotExist)
	}
	img, err := Build(spec(t, time.Unix(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(io.Discard, "proxy", img); err == nil {
		t.Error("a name without registry and tag was accepted")
	}
}

func unpack(t *testing.T, data []byte, dir string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
