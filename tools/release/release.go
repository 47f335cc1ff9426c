package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tulle-mesh/tulle/tools/pack"
)

// release is what is made of a checkout.
type release struct {
	version  string // v1.2.3, or v1.2.3-rc.1
	source   string // the checkout
	output   string // gets a folder of the version
	registry string
	trial    bool
	log      io.Writer

	platforms []platform
	commit    string
	time      time.Time // of all files

	stage    string    // the folder of the version until it is complete
	programs string    // a folder for what is built
	built    []program // in the order of building
}

// Run makes the release. It replaces the folder of the version when everything is made, and not before: a run that is
// interrupted leaves the earlier folder as it is, and its own half is removed by the next run.
func (r *release) Run(ctx context.Context) error {
	if err := r.inspect(ctx); err != nil {
		return err
	}
	r.stage = filepath.Join(r.output, "."+r.version+".partial")
	if err := os.RemoveAll(r.stage); err != nil {
		return fmt.Errorf("remove what an interrupted run left: %w", err)
	}
	if err := os.MkdirAll(r.stage, 0o755); err != nil {
		return fmt.Errorf("make the folder of the release: %w", err)
	}
	defer func() { _ = os.RemoveAll(r.stage) }()
	var err error
	if r.programs, err = os.MkdirTemp("", "tulle-release-"); err != nil {
		return fmt.Errorf("make a folder for programs: %w", err)
	}
	defer func() { _ = os.RemoveAll(r.programs) }()
	for _, step := range []func(context.Context) error{r.cli, r.images, r.chart, r.installScript, r.bom, r.sums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	final := filepath.Join(r.output, r.version)
	if err := os.RemoveAll(final); err != nil {
		return fmt.Errorf("remove the earlier %s: %w", final, err)
	}
	if err := os.Rename(r.stage, final); err != nil {
		return fmt.Errorf("complete the release: %w", err)
	}
	fmt.Fprintf(r.log, "%s of commit %s is in %s\n", r.version, r.commit, final)
	return nil
}

// cli writes an archive of the command for each platform.
func (r *release) cli(ctx context.Context) error {
	for _, p := range r.platforms {
		built, err := r.build(ctx, "tulle", p)
		if err != nil {
			return err
		}
		if err := r.checkVersion(ctx, built); err != nil {
			return err
		}
		folder := strings.Join([]string{"tulle", r.version, p.os, p.arch}, "-")
		command := entry{name: folder + "/tulle", file: built.file, mode: 0o755}
		write, archive := writeTarGzip, folder+".tar.gz"
		if p.os == "windows" {
			command.name += ".exe"
			write, archive = writeZip, folder+".zip"
		}
		entries := []entry{command}
		for _, name := range []string{"LICENSE", "README.md"} {
			entries = append(entries, entry{name: folder + "/" + name, file: filepath.Join(r.source, name), mode: 0o644})
		}
		if err := r.write(archive, func(w io.Writer) error { return write(w, entries, r.time) }); err != nil {
			return err
		}
	}
	return nil
}

// images writes an archive for each image, with all platforms of Linux.
func (r *release) images(ctx context.Context) error {
	for _, name := range []string{"controller", "proxy"} {
		var images []v1.Image
		for _, p := range r.platforms {
			if p.os != "linux" {
				continue
			}
			built, err := r.build(ctx, "tulle-"+name, p)
			if err != nil {
				return err
			}
			img, err := pack.Build(pack.Spec{
				Files: map[string]string{"/tulle-" + name: built.file}, Entrypoint: []string{"/tulle-" + name},
				User: "65534:65534", Architecture: p.arch,
				Labels: map[string]string{
					"org.opencontainers.image.title":    "tulle-" + name,
					"org.opencontainers.image.version":  r.version,
					"org.opencontainers.image.revision": r.commit,
					"org.opencontainers.image.created":  r.time.Format(time.RFC3339),
					"org.opencontainers.image.source":   "https://github.com/tulle-mesh/tulle",
					"org.opencontainers.image.licenses": "Apache-2.0",
				},
			})
			if err != nil {
				return fmt.Errorf("pack image %s for %s: %w", name, p, err)
			}
			images = append(images, img)
		}
		if len(images) == 0 {
			return errors.New("the images need a platform of Linux")
		}
		archive, ref := fmt.Sprintf("tulle-%s-%s-image.tar", name, r.version), r.registry+"/"+name+":"+r.version
		if err := r.write(archive, func(w io.Writer) error { return pack.WriteIndex(w, ref, images) }); err != nil {
			return err
		}
	}
	return nil
}

// chart packages install/chart with the version, as Helm names it: without v. A checkout without a chart has none.
func (r *release) chart(context.Context) error {
	dir := filepath.Join(r.source, "install", "chart")
	entries, err := chartEntries(dir, r.version)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(r.log, "no chart: %s does not exist\n", dir)
		return nil
	}
	if err != nil {
		return fmt.Errorf("package chart: %w", err)
	}
	archive := "tulle-chart-" + strings.TrimPrefix(r.version, "v") + ".tgz"
	return r.write(archive, func(w io.Writer) error { return writeTarGzip(w, entries, r.time) })
}

// installScript writes the script with this release as the version that it installs.
func (r *release) installScript(context.Context) error {
	const name, unset = "install.sh", "\nrelease_version=\n"
	script, err := os.ReadFile(filepath.Join(r.source, "install", name))
	if err != nil {
		return fmt.Errorf("read install script: %w", err)
	}
	if n := strings.Count(string(script), unset); n != 1 {
		return fmt.Errorf("install/%s: got %d lines %q, want 1", name, n, strings.TrimSpace(unset))
	}
	text := strings.Replace(string(script), unset, strings.TrimSuffix(unset, "\n")+r.version+"\n", 1)
	return r.write(name, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// sums writes SHA256SUMS, which `sha256sum --check` reads.
func (r *release) sums(context.Context) error {
	files, err := os.ReadDir(r.stage) // sorted by name
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	var sums strings.Builder
	for _, file := range files {
		sum, err := digest(filepath.Join(r.stage, file.Name()))
		if err != nil {
			return fmt.Errorf("digest %s: %w", file.Name(), err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, file.Name())
	}
	return r.write("SHA256SUMS", func(w io.Writer) error {
		_, err := io.WriteString(w, sums.String())
		return err
	})
}

// write writes a file of the release.
func (r *release) write(name string, content func(io.Writer) error) error {
	file, err := os.OpenFile(filepath.Join(r.stage, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = content(file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	fmt.Fprintln(r.log, "wrote", name)
	return nil
}

// digest returns the SHA-256 sum of a file in hexadecimal digits.
func digest(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
