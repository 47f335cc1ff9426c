// Package debian makes container images from Debian packages and everything that they depend on, without a container
// engine.
//
// It owns how packages are found, unpacked and cached. Nothing is installed on this machine, and what is installed does
// not matter. It must not import any package of the product, and knows nothing about the programs that it packs.
package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/tulle-mesh/tulle/test/step"
	"github.com/tulle-mesh/tulle/tools/pack"
)

// ErrNoDebian reports that packages cannot be fetched here.
var ErrNoDebian = errors.New("packages come from Debian: this needs apt-get and dpkg")

// format is part of each image's key. A change to what this package puts into an image must change it.
const format = "1"

// Image says which packages an image takes its files from.
type Image struct {
	Name       string   // registry and path, without a tag
	Packages   []string // Debian packages; their dependencies come along
	Files      []string // patterns of programs and folders; the shared libraries that they load come along
	Entrypoint []string
	Env        []string
	User       string
}

// Archive is an image in a file.
type Archive struct {
	Name string // of the image, with a tag that changes with its content
	File string // of the cache; see pack.Write for the format
}

// CopyTo writes the archive to another file, and replaces it at once.
func (a Archive) CopyTo(file string) error {
	data, err := os.ReadFile(a.File)
	if err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	if err := os.WriteFile(file+".tmp", data, 0o644); err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	return nil
}

// Builder makes images. The zero value is not usable: Cache is required.
type Builder struct {
	Cache string // the folder where archives stay; see step.Cache
}

// Build returns the archive of an image. The cache's archive serves as long as neither the image nor the version of any
// package in it has changed.
func (b Builder) Build(ctx context.Context, img Image) (Archive, error) {
	for _, tool := range []string{"apt-get", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return Archive{}, fmt.Errorf("build image %s: %w: %s is missing", img.Name, ErrNoDebian, tool)
		}
	}
	archive, err := b.build(ctx, img)
	if err != nil {
		return Archive{}, fmt.Errorf("build image %s: %w", img.Name, err)
	}
	return archive, nil
}

func (b Builder) build(ctx context.Context, img Image) (Archive, error) {
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return Archive{}, err
	}
	work, err := os.MkdirTemp(b.Cache, "debian-*")
	if err != nil {
		return Archive{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	a, err := newAPT(work)
	if err != nil {
		return Archive{}, err
	}
	listed, err := a.list(ctx, img.Packages)
	if err == nil {
		if archive := b.archive(img, listed); exists(archive.File) {
			return archive, nil
		}
		err = a.download(ctx, img.Packages)
	}
	if err != nil { // the machine has no lists, or they are older than the mirror
		if err := step.Run(ctx, "", nil, "apt-get", "update", "-qq"); err != nil {
			return Archive{}, err
		}
		if listed, err = a.list(ctx, img.Packages); err != nil {
			return Archive{}, err
		}
		if err := a.download(ctx, img.Packages); err != nil {
			return Archive{}, err
		}
	}
	archive := b.archive(img, listed)
	root, err := a.unpack(ctx)
	if err != nil {
		return Archive{}, err
	}
	return archive, img.write(root, archive)
}

// archive returns the place of an image that is made of the listed packages.
func (b Builder) archive(img Image, listed string) Archive {
	spec, err := json.Marshal(img)
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", format, spec, listed))
	tag := hex.EncodeToString(sum[:])[:12]
	file := fmt.Sprintf("%s-%s-%s.tar", filepath.Base(img.Name), tag, runtime.GOARCH)
	return Archive{Name: img.Name + ":" + tag, File: filepath.Join(b.Cache, "images", file)}
}

func (img Image) write(root string, archive Archive) error {
	files, err := pick(root, img.Files)
	if err != nil {
		return err
	}
	packed, err := pack.Build(pack.Spec{
		Files: files, Entrypoint: img.Entrypoint, Env: img.Env, User: img.User, Architecture: runtime.GOARCH,
	})
	if err != nil {
		return err
	}
	return pack.WriteFile(archive.File, archive.Name, packed)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
