// Package pack turns a few files into a container image and an image into one archive, without a container engine.
//
// It owns the image's shape: one layer from scratch, fixed times, sorted entries, so that equal inputs give equal
// bytes. It must not import anything of Tulle, and knows no program that it packs.
package pack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of everything in an image: builds at different times must give equal bytes.
var epoch = time.Unix(0, 0).UTC()

// Spec is what is in an image and how it starts. Only Files is required.
type Spec struct {
	// Files maps a path in the image to a file on this machine; permission bits are normalized to 0755 and 0644.
	Files        map[string]string
	Entrypoint   []string
	Cmd          []string
	Env          []string
	User         string            // "uid" or "uid:gid"; "" runs as root
	Labels       map[string]string // written to the configuration and, as OCI wants them, to the manifest's annotations
	Architecture string            // as in GOARCH
}

// Build returns the image of a spec: one gzip layer over scratch. Errors name the file that could not be read.
func Build(s Spec) (v1.Image, error) {
	if len(s.Files) == 0 {
		return nil, fmt.Errorf("pack image: no files")
	}
	layerTar, err := layer(s.Files)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layerTar)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("compress layer: %w", err)
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: s.Architecture, Created: v1.Time{Time: epoch},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{Entrypoint: s.Entrypoint, Cmd: s.Cmd, Env: s.Env, User: s.User, Labels: s.Labels, WorkingDir: "/"},
	})
	if err != nil {
		return nil, fmt.Errorf("set image configuration: %w", err)
	}
	img, err = mutate.Append(img, mutate.Addendum{
		Layer: layer, MediaType: types.OCILayer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "tulle pack"},
	})
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	if len(s.Labels) > 0 {
		img = mutate.Annotations(img, s.Labels).(v1.Image)
	}
	return img, nil
}

// layer returns the tar of files and of the folders above them, sorted by path, owned by root.
func layer(files map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	folders := map[string]bool{"": true, ".": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		clean := strings.TrimPrefix(path.Clean("/"+name), "/")
		if err := writeFolders(w, path.Dir(clean), folders); err != nil {
			return nil, err
		}
		if err := writeFile(w, clean, files[name]); err != nil {
			return nil, fmt.Errorf("add %s to layer: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("close layer: %w", err)
	}
	return buf.Bytes(), nil
}

func writeFolders(w *tar.Writer, dir string, done map[string]bool) error {
	if done[dir] {
		return nil
	}
	if err := writeFolders(w, path.Dir(dir), done); err != nil {
		return err
	}
	done[dir] = true
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch})
	if err != nil {
		return fmt.Errorf("add folder %s to layer: %w", dir, err)
	}
	return nil
}

func writeFile(w *tar.Writer, name, source string) error {
	data, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: epoch}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
