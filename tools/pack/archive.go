package pack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// WriteFile writes an archive (see Write) and replaces the file at once, so that a reader never sees half of one.
func WriteFile(file, ref string, img v1.Image) error {
	return replaceFile(file, func(w io.Writer) error { return Write(w, ref, img) })
}

// WriteIndexFile writes an archive of several platforms (see WriteIndex) and replaces the file at once.
func WriteIndexFile(file, ref string, images []v1.Image) error {
	return replaceFile(file, func(w io.Writer) error { return WriteIndex(w, ref, images) })
}

func replaceFile(file string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	err = write(tmp)
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write archive %s: %w", file, err)
	}
	return nil
}

// dockerManifest is an entry of manifest.json, the index that `docker load` has always read.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Write writes an image as a tar that is an OCI image layout (image-layout.md of the OCI image specification) and
// carries Docker's manifest.json beside it, pointing at the same blobs: `ctr images import`, `kind load image-archive`
// and `docker load` all read it. ref is the image's full name with a tag.
func Write(w io.Writer, ref string, img v1.Image) error {
	descriptor, err := describe(img)
	if err != nil {
		return err
	}
	if descriptor.Annotations, err = annotations(ref); err != nil {
		return err
	}
	out := tar.NewWriter(w)
	docker := dockerManifest{RepoTags: []string{ref}}
	if err := writeBlobs(out, img, &docker); err != nil {
		return err
	}
	if err := writeLayout(out, descriptor); err != nil {
		return err
	}
	if err := writeJSON(out, "manifest.json", []dockerManifest{docker}); err != nil {
		return err
	}
	return out.Close()
}

// WriteIndex writes images of one name for several platforms as an OCI image layout, whose one entry is their index.
// It has no manifest.json, which can name only one platform: a `docker load` that reads nothing else would silently
// load an image of the wrong architecture.
func WriteIndex(w io.Writer, ref string, images []v1.Image) error {
	out := tar.NewWriter(w)
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, img := range images {
		descriptor, err := describe(img)
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, *descriptor)
		if err := writeBlobs(out, img, &dockerManifest{}); err != nil {
			return err
		}
	}
	data, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode index of %s: %w", ref, err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("digest index of %s: %w", ref, err)
	}
	descriptor := &v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest, Size: size}
	if descriptor.Annotations, err = annotations(ref); err != nil {
		return err
	}
	if err := writeEntry(out, blobPath(digest), data); err != nil {
		return err
	}
	if err := writeLayout(out, descriptor); err != nil {
		return err
	}
	return out.Close()
}

// annotations returns what gives the image its name when it is imported.
func annotations(ref string) (map[string]string, error) {
	tag, err := name.NewTag(ref, name.StrictValidation) // checked only: Name would turn docker.io into index.docker.io
	if err != nil {
		return nil, fmt.Errorf("image name %q: want registry/path:tag: %w", ref, err)
	}
	return map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": tag.TagStr()}, nil
}

func describe(img v1.Image) (*v1.Descriptor, error) {
	descriptor, err := partial.Descriptor(img)
	if err != nil {
		return nil, fmt.Errorf("describe image: %w", err)
	}
	descriptor.ArtifactType, descriptor.Annotations = "", nil
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	descriptor.Platform = &v1.Platform{OS: config.OS, Architecture: config.Architecture}
	return descriptor, nil
}

// writeLayout writes what makes blobs an OCI image layout, with descriptor as its one entry.
func writeLayout(out *tar.Writer, descriptor *v1.Descriptor) error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{*descriptor}}
	if err := writeJSON(out, "index.json", index); err != nil {
		return err
	}
	return writeJSON(out, "oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"})
}

func writeBlobs(out *tar.Writer, img v1.Image, docker *dockerManifest) error {
	manifest, err := img.RawManifest()
	if err != nil {
		return fmt.Errorf("read image manifest: %w", err)
	}
	manifestID, err := img.Digest()
	if err != nil {
		return fmt.Errorf("digest image manifest: %w", err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return fmt.Errorf("read image configuration: %w", err)
	}
	configID, err := img.ConfigName()
	if err != nil {
		return fmt.Errorf("digest image configuration: %w", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("read image layers: %w", err)
	}
	docker.Config = blobPath(configID)
	for _, layer := range layers {
		id, err := layer.Digest()
		if err != nil {
			return fmt.Errorf("digest layer: %w", err)
		}
		content, err := layer.Compressed()
		if err != nil {
			return fmt.Errorf("read layer %s: %w", id, err)
		}
		data, err := io.ReadAll(content)
		if closeErr := content.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("read layer %s: %w", id, err)
		}
		if err := writeEntry(out, blobPath(id), data); err != nil {
			return err
		}
		docker.Layers = append(docker.Layers, blobPath(id))
	}
	if err := writeEntry(out, blobPath(configID), config); err != nil {
		return err
	}
	return writeEntry(out, blobPath(manifestID), manifest)
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func writeJSON(out *tar.Writer, entry string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", entry, err)
	}
	return writeEntry(out, entry, data)
}

func writeEntry(out *tar.Writer, entry string, data []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: entry, Mode: 0o644, Size: int64(len(data)), ModTime: epoch}
	if err := out.WriteHeader(header); err != nil {
		return fmt.Errorf("write %s: %w", entry, err)
	}
	if _, err := out.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", entry, err)
	}
	return nil
}
