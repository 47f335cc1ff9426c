package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tulle-mesh/tulle/test/debian"
	"github.com/tulle-mesh/tulle/test/goimage"
	"github.com/tulle-mesh/tulle/test/step"
	"github.com/tulle-mesh/tulle/tools/pack"
)

const registry = "docker.io/tulle-mesh/"

// image is an archive of the demo. Its tag is its content, so that a new build is rolled out and an old one is left
// alone.
type image struct {
	archive string
	plain   string // the name that the manifests carry
	name    string // the name of this build
	tag     string // of the name; for the shop alone, whose Job is named after it
}

// images writes the archives of the shop and of Redis.
func (d *demo) images(ctx context.Context) ([]image, error) {
	var images []image
	builds := []struct {
		name  string
		build func() (image, error)
	}{
		{"image of the shop", func() (image, error) { return d.shopImage(ctx) }},
		{"image of Redis, from Debian's package", func() (image, error) { return d.redisImage(ctx) }},
	}
	for _, b := range builds {
		err := d.progress.Do(b.name, func() (string, error) {
			i, err := b.build()
			images = append(images, i)
			return i.name, err
		})
		if err != nil {
			return nil, err
		}
	}
	return images, nil
}

// prometheusImage writes the archive of the image that `tulle viz install` names, and returns its file.
func (d *demo) prometheusImage(ctx context.Context) (archive string, err error) {
	prometheus := goimage.Prometheus(d.root)
	archive = filepath.Join(d.root, "dist", "prometheus.tar")
	return archive, d.progress.Do("image of Prometheus, from its Go module", func() (string, error) {
		return prometheus.Name, prometheus.CopyTo(ctx, d.cache, archive)
	})
}

func (d *demo) shopImage(ctx context.Context) (image, error) {
	program := filepath.Join(d.root, "bin", "shop")
	if err := step.GoBuild(ctx, filepath.Join(d.root, "test"), "./apps/shop", program, "-ldflags", "-s -w"); err != nil {
		return image{}, err
	}
	i, err := d.pack("shop", pack.Spec{
		Files: map[string]string{"/shop": program}, Entrypoint: []string{"/shop"}, User: "65534:65534",
		Architecture: runtime.GOARCH,
	})
	_, i.tag, _ = strings.Cut(i.name, "shop:")
	return i, err
}

// redisImage takes redis-server from Debian.
func (d *demo) redisImage(ctx context.Context) (image, error) {
	archive, err := debian.Builder{Cache: d.cache}.Build(ctx, debian.Image{
		Name: registry + "redis", Packages: []string{"redis-server"}, Files: []string{"/usr/bin/redis-server"},
		Entrypoint: []string{"/usr/bin/redis-server"}, User: "65534:65534",
	})
	if err != nil {
		return image{}, err
	}
	i := image{archive: filepath.Join(d.root, "dist", "redis.tar"), plain: registry + "redis:dev", name: archive.Name}
	return i, archive.CopyTo(i.archive)
}

// pack writes dist/NAME.tar with the image's digest as its tag.
func (d *demo) pack(name string, spec pack.Spec) (image, error) {
	img, err := pack.Build(spec)
	if err != nil {
		return image{}, fmt.Errorf("pack %s: %w", name, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return image{}, fmt.Errorf("pack %s: %w", name, err)
	}
	base := registry + name + ":"
	i := image{archive: filepath.Join(d.root, "dist", name+".tar"), plain: base + "dev", name: base + digest.Hex[:12]}
	return i, pack.WriteFile(i.archive, i.name, img)
}
