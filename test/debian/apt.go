package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
)

// apt downloads packages and their dependencies as if no package were installed, so that an image does not depend on
// this machine.
type apt struct {
	debs string // where the downloaded packages are
	root string // where they are unpacked
	args []string
}

func newAPT(work string) (apt, error) {
	a := apt{debs: filepath.Join(work, "debs"), root: filepath.Join(work, "root")}
	if err := os.MkdirAll(filepath.Join(a.debs, "partial"), 0o755); err != nil {
		return apt{}, err
	}
	installed := filepath.Join(work, "status")
	if err := os.WriteFile(installed, nil, 0o644); err != nil {
		return apt{}, err
	}
	a.args = []string{
		"install", "-y", "-qq", "--no-install-recommends", "-o", "Dir::State::status=" + installed,
		"-o", "Dir::Cache::archives=" + a.debs,
		"-o", "Debug::NoLocking=1", // nothing of this machine changes
		"-o", "APT::Sandbox::User=root", // the sandbox's user cannot read the cache
	}
	return a, nil
}

// list returns the file, the size and the hash of each package that download would fetch, a line each.
func (a apt) list(ctx context.Context, packages []string) (string, error) {
	args := slices.Concat(a.args, []string{"--print-uris"}, packages)
	out, err := step.Output(ctx, "", []string{"LC_ALL=C"}, "apt-get", args...)
	if err != nil {
		return "", err
	}
	return parseURIs(out)
}

// parseURIs reads what apt-get --print-uris prints: 'URI' file size hash. Some packages come without a hash.
func parseURIs(out string) (string, error) {
	var listed []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "'") {
			return "", fmt.Errorf("list packages: apt-get printed %q", line)
		}
		listed = append(listed, strings.Join(fields[1:], " "))
	}
	if len(listed) == 0 {
		return "", errors.New("list packages: apt-get named none")
	}
	slices.Sort(listed)
	return strings.Join(listed, "\n"), nil
}

func (a apt) download(ctx context.Context, packages []string) error {
	return step.Run(ctx, "", nil, "apt-get", slices.Concat(a.args, []string{"--download-only"}, packages)...)
}

// unpack returns the folder with the files of all downloaded packages. Their scripts do not run.
func (a apt) unpack(ctx context.Context) (string, error) {
	debs, err := filepath.Glob(filepath.Join(a.debs, "*.deb"))
	if err != nil {
		return "", fmt.Errorf("list packages: %w", err)
	}
	for _, deb := range debs {
		if err := step.Run(ctx, "", nil, "dpkg", "-x", deb, a.root); err != nil {
			return "", err
		}
	}
	return a.root, nil
}
