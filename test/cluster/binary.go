package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
	"github.com/tulle-mesh/tulle/tools/pack"
)

const kubernetesVersion = "v1.36.3"

var kubernetesPrograms = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
	"kube-proxy", "kubectl"}

// buildKubernetes returns the folder of the Kubernetes programs; those that the cache lacks are compiled, which report
// announces.
func buildKubernetes(ctx context.Context, modules, cache string,
	report func(program string, build func() error) error) (string, error) {
	module := filepath.Join(modules, "kubernetes")
	dir := filepath.Join(cache, "kubernetes-"+kubernetesVersion+"-"+runtime.GOARCH)
	version := "k8s.io/component-base/version."
	parts := strings.Split(strings.TrimPrefix(kubernetesVersion, "v"), ".")
	flags := fmt.Sprintf(
		"-s -w -X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s -X %[1]sgitTreeState=clean",
		version, kubernetesVersion, parts[0], parts[1])
	for _, program := range kubernetesPrograms {
		target := filepath.Join(dir, program)
		if _, err := os.Stat(target); err == nil {
			continue
		}
		err := report(program, func() error {
			return step.GoBuild(ctx, module, flags, "k8s.io/kubernetes/cmd/"+program,
				target)
		})
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// systemImage is an image that the cluster itself runs: one static program.
type systemImage struct {
	name, source, program string // full name, folder to build in, path in the image
}

// systemImages are pause, which holds a pod's namespaces, and CoreDNS, pinned by modules/coredns.
func systemImages(root string) []systemImage {
	return []systemImage{
		{pauseImage, filepath.Join(root, "test", "cluster", "pause"), "/pause"},
		{corednsImage, filepath.Join(root, "test", "cluster", "modules", "coredns"), "/coredns"},
	}
}

const corednsImage = "docker.io/tulle-mesh/coredns:1.15.0"

// archive returns the image's archive in the cache, built when the sources differ from those of the last build.
func (i systemImage) archive(ctx context.Context, cache string) (string, error) {
	key, err := sourceKey(i.source)
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", i.name, err)
	}
	base := filepath.Join(cache, "images", fmt.Sprintf("%s-%s-%s", filepath.Base(i.program), key, runtime.GOARCH))
	if _, err := os.Stat(base + ".tar"); err == nil {
		return base + ".tar", nil
	}
	if err := step.GoBuild(ctx, i.source, "-s -w", ".", base); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(base) }()
	img, err := pack.Build(pack.Spec{
		Files: map[string]string{i.program: base}, Entrypoint: []string{i.program}, User: "65534:65534",
		Architecture: runtime.GOARCH,
	})
	if err != nil {
		return "", fmt.Errorf("build image %s: %w", i.name, err)
	}
	if err := pack.WriteFile(base+".tar", i.name, img); err != nil {
		return "", err
	}
	return base + ".tar", nil
}

// sourceKey is a digest of the Go files and requirements of a folder.
func sourceKey(dir string) (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}
