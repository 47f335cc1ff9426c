package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// The second release is made in another folder, at another time, in another time zone, with an empty build cache and
// with settings of Go that change programs.
func TestReleaseMadeTwiceIsTheSameBytes(t *testing.T) {
	dir := checkout(t)
	platforms := []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}}
	first := contents(t, made(t, of(dir, platforms...)))
	names := slices.Sorted(maps.Keys(first))
	want := []string{
		"SHA256SUMS", "install.sh", "tulle-chart-0.1.0.tgz",
		"tulle-controller-v0.1.0-image.tar", "tulle-proxy-v0.1.0-image.tar",
		"tulle-v0.1.0-linux-amd64.tar.gz", "tulle-v0.1.0-linux-arm64.tar.gz", "tulle-v0.1.0-windows-amd64.zip",
		"tulle-v0.1.0.cdx.json",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	another := filepath.Join(t.TempDir(), "a", "longer", "path")
	git(t, ".", "clone", "-q", dir, another)
	t.Setenv("TZ", "Asia/Kathmandu")
	t.Setenv("GOCACHE", t.TempDir())
	t.Setenv("GOAMD64", "v3")
	t.Setenv("GOFLAGS", "-ldflags=-X=main.version=another")
	second := contents(t, made(t, of(another, platforms...)))
	for _, name := range names {
		if first[name] != second[name] {
			t.Errorf("%s differs: %d and %d bytes", name, len(first[name]), len(second[name]))
		}
	}
	if len(second) != len(first) {
		t.Errorf("files: got %d, then %d", len(first), len(second))
	}
}

func TestFilesOfARelease(t *testing.T) {
	dir := made(t, of(checkout(t), platform{"linux", "amd64"}, platform{"linux", "arm64"}, platform{"windows", "amd64"}))
	t.Run("sha256sum accepts the checksums", func(t *testing.T) {
		cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 8 {
			t.Errorf("got %v:\n%s\nwant 8 files", err, out)
		}
	})
	t.Run("the archive for Linux has the command, the license and the description", func(t *testing.T) {
		want := []string{
			"tulle-v0.1.0-linux-arm64/tulle 755", "tulle-v0.1.0-linux-arm64/LICENSE 644",
			"tulle-v0.1.0-linux-arm64/README.md 644",
		}
		if d := cmp.Diff(want, tarNames(t, filepath.Join(dir, "tulle-v0.1.0-linux-arm64.tar.gz"))); d != "" {
			t.Error(d)
		}
	})
	t.Run("the archive for Windows is a ZIP", func(t *testing.T) {
		archive, err := zip.OpenReader(filepath.Join(dir, "tulle-v0.1.0-windows-amd64.zip"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = archive.Close() }()
		var got []string
		for _, file := range archive.File {
			got = append(got, file.Name)
		}
		want := []string{
			"tulle-v0.1.0-windows-amd64/tulle.exe", "tulle-v0.1.0-windows-amd64/LICENSE",
			"tulle-v0.1.0-windows-amd64/README.md",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
	t.Run("the chart has the version and no code", func(t *testing.T) {
		archive := filepath.Join(dir, "tulle-chart-0.1.0.tgz")
		want := []string{
			"tulle/Chart.yaml 644", "tulle/.helmignore 644", "tulle/templates/a.yaml 644", "tulle/values.yaml 644",
		}
		if d := cmp.Diff(want, tarNames(t, archive)); d != "" {
			t.Error(d)
		}
		out, err := exec.Command("tar", "-xzOf", archive, "tulle/Chart.yaml").Output()
		if want := "apiVersion: v2\nappVersion: v0.1.0\nname: tulle\nversion: 0.1.0\n"; err != nil || string(out) != want {
			t.Errorf("Chart.yaml: got %v:\n%s\nwant:\n%s", err, out, want)
		}
	})
	t.Run("an image has both architectures", func(t *testing.T) {
		checkImage(t, filepath.Join(dir, "tulle-proxy-v0.1.0-image.tar"))
	})
	t.Run("the install script installs this release", func(t *testing.T) {
		if got := contents(t, dir)["install.sh"]; !strings.Contains(got, "\nrelease_version=v0.1.0\n") {
			t.Error("install.sh has no line release_version=v0.1.0")
		}
	})
}

func checkImage(t *testing.T, archive string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	top, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("index.json: got %v, %v, want one entry", manifest, err)
	}
	name := manifest.Manifests[0].Annotations["io.containerd.image.name"]
	if want := "ghcr.io/tulle-mesh/proxy:v0.1.0"; name != want {
		t.Errorf("name: got %q, want %q", name, want)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.String())
	}
	if d := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); d != "" {
		t.Error(d)
	}
}

func tarNames(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name+" "+octal(h.Mode))
	}
}

func octal(mode int64) string {
	return string([]byte{'0' + byte(mode>>6&7), '0' + byte(mode>>3&7), '0' + byte(mode&7)})
}

func TestReleaseIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name, version, want string
		change              func(t *testing.T, dir string)
	}{
		{name: "version without v", version: "0.1.0", want: "want a semantic version with v"},
		{name: "version of two numbers", version: "v0.1", want: "want a semantic version with v"},
		{name: "version that an image tag cannot have", version: "v0.1.0+b", want: "want a semantic version with v"},
		{name: "version that is a path", version: "v0.1.0-../x", want: "want a semantic version with v"},
		{name: "version without a tag", version: "v0.2.0", want: "v0.2.0 is not a tag"},
		{
			name: "branch with the version's name", version: "v0.2.0", want: "v0.2.0 is not a tag",
			change: func(t *testing.T, dir string) { git(t, dir, "branch", "v0.2.0") },
		},
		{
			name: "file that is not committed", version: "v0.1.0", want: "?? new",
			change: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "new"), "") },
		},
		{
			name: "changed file", version: "v0.1.0", want: "M README.md",
			change: func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "README.md"), "changed") },
		},
		{
			name: "commit after the tag", version: "v0.1.0", want: "check out the tag",
			change: func(t *testing.T, dir string) { git(t, dir, "commit", "-q", "--allow-empty", "-m", "second") },
		},
		{
			name: "version without a section in the changelog", version: "v0.1.1", want: `no section "## v0.1.1"`,
			change: func(t *testing.T, dir string) { git(t, dir, "tag", "v0.1.1") },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := checkout(t)
			if tc.change != nil {
				tc.change(t, dir)
			}
			r := of(dir, host)
			r.version = tc.version
			if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if _, err := os.Stat(r.output); err == nil {
				t.Errorf("%s was made", r.output)
			}
		})
	}
}

func TestTrialNeedsNeitherTagNorCommit(t *testing.T) {
	dir := checkout(t)
	writeFile(t, filepath.Join(dir, "new"), "")
	r := of(dir, host)
	r.version, r.trial = "v0.2.0-trial", true
	made(t, r)
}

func TestTimeIsChecked(t *testing.T) {
	dir := checkout(t)
	for _, text := range []string{"yesterday", "-1", "0", "9999999999999"} {
		t.Setenv("SOURCE_DATE_EPOCH", text)
		if err := of(dir, host).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
			t.Errorf("SOURCE_DATE_EPOCH=%s: got %v, want an error", text, err)
		}
	}
}

func TestCommandThatNamesAnotherVersionIsRefused(t *testing.T) {
	dir := checkout(t)
	writeFile(t, filepath.Join(dir, "cmd/tulle/main.go"), strings.ReplaceAll(mainOf, "version", "renamed"))
	r := of(dir, host)
	r.trial = true
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `version "dev", want "v0.1.0"`) {
		t.Errorf("got %v, want an error that names both versions", err)
	}
}

func TestInterruptedRunLeavesTheEarlierRelease(t *testing.T) {
	dir := checkout(t)
	r := of(dir, host)
	earlier := filepath.Join(r.output, r.version, "earlier")
	writeFile(t, earlier, "")
	writeFile(t, filepath.Join(r.output, "."+r.version+".partial", "tulle-v0.1.0.cdx.json"), "half") // of a killed run
	ctx, cancel := context.WithCancel(t.Context())
	r.log = writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "wrote") {
			cancel()
		}
		return len(p), nil
	})
	if err := r.Run(ctx); err == nil {
		t.Error("got no error")
	}
	if _, err := os.Stat(earlier); err != nil {
		t.Error(err)
	}
	if left := contents(t, r.output); len(left) != 1 {
		t.Errorf("got %v, want only the earlier release", slices.Sorted(maps.Keys(left)))
	}
	made(t, of(dir, host))
	if _, err := os.Stat(earlier); err == nil {
		t.Error("the next run left a file of the earlier release")
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
