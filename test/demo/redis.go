package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
	"github.com/tulle-mesh/tulle/tools/pack"
)

// ErrNoDebian says that Redis cannot be fetched here.
var ErrNoDebian = errors.New("the demo takes Redis from Debian's packages: it needs apt-get and dpkg")

// redisImage packs redis-server of Debian with the libraries that it loads. Nothing is installed: the packages are unpacked in the
// cache, by version.
func (d *demo) redisImage(ctx context.Context) (image, error) {
	root, err := d.unpackRedis(ctx)
	if err != nil {
		return image{}, err
	}
	files, err := closure(ctx, root, "usr/bin/redis-server")
	if err != nil {
		return image{}, err
	}
	return d.pack("redis", pack.Spec{
		Files: files, Entrypoint: []string{"/usr/bin/redis-server"}, User: "65534:65534", Architecture: runtime.GOARCH,
	})
}

// unpackRedis returns a folder with the files of redis-server and of the libraries that this machine has not installed.
func (d *demo) unpackRedis(ctx context.Context) (string, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: %s is missing", ErrNoDebian, tool)
		}
	}
	version, err := candidate(ctx)
	if err != nil {
		if err = step.Run(ctx, "", nil, "apt-get", "update", "-qq"); err == nil {
			version, err = candidate(ctx)
		}
		if err != nil {
			return "", err
		}
	}
	dir := filepath.Join(d.cache, "redis-"+strings.ReplaceAll(version, ":", "-")+"-"+runtime.GOARCH)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	work, err := os.MkdirTemp(d.cache, "redis-*")
	if err != nil {
		return "", fmt.Errorf("fetch redis-server: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := fetchRedis(ctx, work); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(work, "root"), dir); err != nil {
		return "", fmt.Errorf("keep redis-server: %w", err)
	}
	return dir, nil
}

func fetchRedis(ctx context.Context, work string) error {
	debs := filepath.Join(work, "debs")
	if err := os.MkdirAll(filepath.Join(debs, "partial"), 0o755); err != nil {
		return fmt.Errorf("fetch redis-server: %w", err)
	}
	install := []string{"install", "--download-only", "--reinstall", "--no-install-recommends", "-y", "-qq",
		"-o", "Dir::Cache::archives=" + debs, "redis-server", "redis-tools"}
	if err := step.Run(ctx, "", nil, "apt-get", install...); err != nil {
		if err := step.Run(ctx, "", nil, "apt-get", "update", "-qq"); err != nil { // the lists may be older than the mirror
			return err
		}
		if err := step.Run(ctx, "", nil, "apt-get", install...); err != nil {
			return err
		}
	}
	packages, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return fmt.Errorf("list packages: %w", err)
	}
	for _, p := range packages {
		if err := step.Run(ctx, "", nil, "dpkg", "-x", p, filepath.Join(work, "root")); err != nil {
			return err
		}
	}
	return nil
}

// candidate is the version of redis-server that apt would install.
func candidate(ctx context.Context) (string, error) {
	out, err := step.Output(ctx, "", []string{"LC_ALL=C"}, "apt-cache", "policy", "redis-server")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && version != "(none)" {
			return version, nil
		}
	}
	return "", errors.New("apt knows no package redis-server")
}

// closure returns a program of root and every shared library that it loads, by their paths in the image.
func closure(ctx context.Context, root, program string) (map[string]string, error) {
	source, err := filepath.EvalSymlinks(filepath.Join(root, program))
	if err != nil {
		return nil, fmt.Errorf("find program: %w", err)
	}
	var folders []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, fmt.Errorf("find libraries: %w", err)
		}
		folders = append(folders, found...)
	}
	out, err := step.Output(ctx, "", []string{"LD_LIBRARY_PATH=" + strings.Join(folders, ":")}, "ldd", source)
	if err != nil {
		return nil, err
	}
	files := map[string]string{"/" + program: source}
	libraries, err := parseLDD(out)
	if err != nil {
		return nil, err
	}
	for _, library := range libraries {
		target := "/" + strings.TrimPrefix(strings.TrimPrefix(library, root), "/")
		files[target] = library
	}
	return files, nil
}

// parseLDD returns the files that ldd names: `name => /path (address)`, or `/path (address)` for the loader itself.
func parseLDD(out string) ([]string, error) {
	var files []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 3 && fields[1] == "=>" && fields[2] == "not":
			return nil, fmt.Errorf("library %s is missing", fields[0])
		case len(fields) >= 3 && fields[1] == "=>" && strings.HasPrefix(fields[2], "/"):
			files = append(files, fields[2])
		case len(fields) >= 1 && strings.HasPrefix(fields[0], "/"):
			files = append(files, fields[0])
		}
	}
	if len(files) == 0 {
		return nil, errors.New("ldd named no library")
	}
	return files, nil
}
