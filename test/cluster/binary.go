package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tulle-mesh/tulle/test/goimage"
	"github.com/tulle-mesh/tulle/test/step"
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
			return step.GoBuild(ctx, module, "k8s.io/kubernetes/cmd/"+program, target, "-ldflags", flags)
		})
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// systemImages are pause, which holds a pod's namespaces, and CoreDNS, pinned by modules/coredns.
func systemImages(root string) []goimage.Image {
	return []goimage.Image{
		{Name: pauseImage, Source: filepath.Join(root, "test", "cluster", "pause"), Program: "/pause"},
		{Name: corednsImage, Source: filepath.Join(root, "test", "cluster", "modules", "coredns"), Program: "/coredns"},
	}
}

const corednsImage = "docker.io/tulle-mesh/coredns:1.15.0"
