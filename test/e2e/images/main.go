// Package main makes the images that the end-to-end tests need beside the mesh's own, and prints the name of each:
// clients from Debian, and Prometheus from its Go module.
//
//	go run ./e2e/images ../dist
//
// It owns which programs those are. Their scripts are not in the images: the tests mount them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/tulle-mesh/tulle/test/debian"
	"github.com/tulle-mesh/tulle/test/goimage"
	"github.com/tulle-mesh/tulle/test/step"
)

const (
	registry = "docker.io/tulle-mesh/"
	jre      = "/usr/lib/jvm/java-17-openjdk-"
)

// images are one for each client. Each has sleep, which a pod runs while tests enter it.
var images = []debian.Image{
	{
		Name: registry + "e2e-curl", Packages: []string{"curl", "nghttp2-client"},
		Files: []string{"/usr/bin/curl", "/usr/bin/h2load"},
	},
	{
		Name: registry + "e2e-grpcio", Packages: []string{"python3-grpcio"},
		Files: []string{"/usr/bin/python3", "/usr/lib/python3.*", "/usr/lib/python3/dist-packages"},
		Env:   []string{"PATH=/usr/bin:/bin", "PYTHONUNBUFFERED=1"},
	},
	{
		// The runtime brings the compiler's module along, so java runs a source file.
		Name: registry + "e2e-jdk",
		Packages: []string{
			"openjdk-17-jre-headless", "libgrpc-java", "libguava-java", "libnetty-java", "libperfmark-java",
		},
		Files: []string{jre + "*/bin/java", jre + "*/conf", jre + "*/lib", "/usr/share/java"},
		Env:   []string{"PATH=" + jre + runtime.GOARCH + "/bin:/usr/bin:/bin"},
	},
	{
		Name: registry + "e2e-node", Packages: []string{"nodejs", "node-https-proxy-agent"},
		Files: []string{"/usr/bin/node", "/usr/share/nodejs"},
	},
	{
		Name: registry + "e2e-tinyproxy", Packages: []string{"tinyproxy"},
		Files: []string{"/usr/bin/tinyproxy", "/usr/share/tinyproxy"},
	},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: images FOLDER-FOR-ARCHIVES")
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dist string) error {
	cache, err := step.Cache()
	if err != nil {
		return err
	}
	root, err := step.Checkout()
	if err != nil {
		return err
	}
	progress := step.New(os.Stderr)
	prometheus := goimage.Prometheus(root)
	err = progress.Do("image of Prometheus, from its Go module", func() (string, error) {
		fmt.Println(prometheus.Name)
		return prometheus.Name, prometheus.CopyTo(ctx, cache, filepath.Join(dist, "e2e-prometheus.tar"))
	})
	if err != nil {
		return err
	}
	for _, img := range images {
		img.Packages = append(img.Packages, "coreutils")
		img.Files = append(img.Files, "/bin/sleep")
		img.Entrypoint, img.User = []string{"/bin/sleep", "infinity"}, "65534:65534"
		err := progress.Do("image "+path.Base(img.Name)+", from Debian's packages", func() (string, error) {
			archive, err := debian.Builder{Cache: cache}.Build(ctx, img)
			if err != nil {
				return "", err
			}
			fmt.Println(archive.Name)
			return archive.Name, archive.CopyTo(filepath.Join(dist, path.Base(img.Name)+".tar"))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
