// Package goimage makes images of programs that are Go modules: one static program an image.
//
// It owns how they are built and cached. The one idea: an image is built when the sources that pin it differ from those
// of the last build, so a machine builds it once.
package goimage

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tulle-mesh/tulle/test/step"
	"github.com/tulle-mesh/tulle/tools/pack"
)

// Image is what to build.
type Image struct {
	// Name is the full name, Source the folder of the module, Program the path of the program in the image.
	Name, Source, Program string
	// Package is what to build in the module; "" is the folder's own.
	Package string
	// Tags are build tags, comma separated.
	Tags string
}

// Prometheus returns the image of Prometheus under its official name, pinned by cluster/modules/prometheus. Its service
// discovery is Kubernetes' alone, as others link the SDKs of clouds. It has no web pages: the module does not have
// them.
func Prometheus(root string) Image {
	return Image{
		Name:    "docker.io/prom/prometheus:" + PrometheusVersion,
		Source:  filepath.Join(root, "test", "cluster", "modules", "prometheus"),
		Program: "/bin/prometheus",
		Package: "github.com/prometheus/prometheus/cmd/prometheus",
		Tags:    "remove_all_sd,enable_kubernetes_sd",
	}
}

// PrometheusVersion is the tag that viz/install asks for. The module of v3.16.0 has the version v0.316.0.
const PrometheusVersion = "v3.16.0"

// Archive returns the image's archive in the cache, built when the sources differ from those of the last build.
func (i Image) Archive(ctx context.Context, cache string) (string, error) {
	key, err := i.sourceKey()
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", i.Name, err)
	}
	base := filepath.Join(cache, "images", fmt.Sprintf("%s-%s-%s", filepath.Base(i.Program), key, runtime.GOARCH))
	if _, err := os.Stat(base + ".tar"); err == nil {
		return base + ".tar", nil
	}
	flags := []string{"-ldflags", "-s -w", "-tags", i.Tags}
	if err := step.GoBuild(ctx, i.Source, cmp.Or(i.Package, "."), base, flags...); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(base) }()
	img, err := pack.Build(pack.Spec{
		Files: map[string]string{i.Program: base}, Entrypoint: []string{i.Program}, User: "65534:65534",
		Architecture: runtime.GOARCH,
	})
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", i.Name, err)
	}
	if err := pack.WriteFile(base+".tar", i.Name, img); err != nil {
		return "", err
	}
	return base + ".tar", nil
}

// sourceKey is a digest of the Go files and requirements of the folder, and of what is built there.
func (i Image) sourceKey() (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(i.Source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(path), len(data), data)
		return nil
	})
	if err != nil {
		return "", err
	}
	if i.Package != "" {
		fmt.Fprintf(hash, "%s %s\n", i.Package, i.Tags)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// CopyTo writes the archive, from the cache, to a file.
func (i Image) CopyTo(ctx context.Context, cache, file string) error {
	archive, err := i.Archive(ctx, cache)
	if err != nil {
		return err
	}
	from, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("copy image %s: %w", i.Name, err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("copy image %s: %w", i.Name, err)
	}
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		return fmt.Errorf("copy image %s: %w", i.Name, err)
	}
	return to.Close()
}
