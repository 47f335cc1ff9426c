package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// platform is a GOOS and a GOARCH.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func parsePlatforms(texts []string) (platforms []platform, err error) {
	for _, text := range texts {
		system, arch, ok := strings.Cut(text, "/")
		p := platform{system, arch}
		if !ok || !slices.Contains([]string{"linux", "darwin", "windows"}, system) || arch != "amd64" && arch != "arm64" {
			return nil, fmt.Errorf("platform %q: want linux, darwin or windows, a slash, and amd64 or arm64", text)
		}
		if slices.Contains(platforms, p) {
			return nil, fmt.Errorf("platform %s is given twice", p)
		}
		platforms = append(platforms, p)
	}
	return platforms, nil
}

// program is one that was built.
type program struct {
	name     string
	platform platform
	file     string
	info     *buildinfo.BuildInfo
}

// buildFlags returns the flags of GO_STATIC in the Makefile, which leave paths of this machine and the state of git out
// of a program.
func buildFlags(version string) []string {
	return []string{
		"-trimpath", "-tags", "grpcnotrace", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + version,
	}
}

// build builds a program of the checkout. It sets everything in Go's environment that could change the program's bytes.
func (r *release) build(ctx context.Context, name string, p platform) (program, error) {
	fmt.Fprintf(r.log, "building %s for %s\n", name, p)
	file := filepath.Join(r.programs, name+"-"+p.os+"-"+p.arch)
	if p.os == "windows" {
		file += ".exe"
	}
	args := append([]string{"build"}, buildFlags(r.version)...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", file, "./cmd/"+name)...)
	cmd.Dir = r.source
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOEXPERIMENT=") }),
		"CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOFIPS140=off", "PWD="+r.source)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return program{}, fmt.Errorf("build %s for %s: %w", name, p, err)
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return program{}, fmt.Errorf("read build information of %s: %w", file, err)
	}
	for _, s := range info.Settings {
		if s.Key == "GOEXPERIMENT" {
			return program{}, fmt.Errorf("go env has GOEXPERIMENT=%s, which changes programs: go env -u GOEXPERIMENT", s.Value)
		}
	}
	built := program{name, p, file, info}
	r.built = append(r.built, built)
	return built, nil
}

// checkVersion runs the command, where this machine can: -ldflags -X silently ignores a variable that does not exist.
func (r *release) checkVersion(ctx context.Context, built program) error {
	if built.platform != (platform{runtime.GOOS, runtime.GOARCH}) {
		return nil
	}
	out, err := exec.CommandContext(ctx, built.file, "version", "--client", "--short").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", built.file, err)
	}
	if got := strings.TrimSpace(string(out)); got != r.version {
		return fmt.Errorf("the command says that it is version %q, want %q", got, r.version)
	}
	return nil
}
