package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// inspect checks that the checkout may become this version, and reads its commit and its time.
func (r *release) inspect(ctx context.Context) error {
	// A version with "+" would not be a tag of an image.
	if !semver.IsValid(r.version) || semver.Canonical(r.version) != r.version {
		return fmt.Errorf("version %q: want a semantic version with v, such as v0.1.0 or v0.1.0-rc.1", r.version)
	}
	var err error
	if r.commit, err = r.git(ctx, "rev-parse", "--verify", "HEAD"); err != nil {
		return err
	}
	if r.time, err = r.sourceTime(ctx); err != nil {
		return err
	}
	if r.trial {
		return nil
	}
	changes, err := r.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return fmt.Errorf("the checkout has changes: commit or remove them, or make a trial (TRIAL=1, --trial):\n%s", changes)
	}
	tagged, err := r.git(ctx, "rev-parse", "--verify", "refs/tags/"+r.version+"^{commit}")
	if err != nil {
		return fmt.Errorf("%s is not a tag: tag the commit (git tag -a %s -m %s), or make a trial (TRIAL=1, --trial): %w",
			r.version, r.version, r.version, err)
	}
	if tagged != r.commit {
		return fmt.Errorf("tag %s is commit %s, the checkout is %s: check out the tag", r.version, tagged, r.commit)
	}
	changelog, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return fmt.Errorf("read changelog: %w", err)
	}
	if !regexp.MustCompile(`(?m)^## ` + regexp.QuoteMeta(r.version) + `( |$)`).Match(changelog) {
		return fmt.Errorf("CHANGELOG.md has no section %q: name the version and its date", "## "+r.version)
	}
	return nil
}

// sourceTime returns the time of everything in the release: SOURCE_DATE_EPOCH, or that of the commit.
func (r *release) sourceTime(ctx context.Context) (time.Time, error) {
	text, from := os.Getenv("SOURCE_DATE_EPOCH"), "SOURCE_DATE_EPOCH"
	if text == "" {
		var err error
		if text, err = r.git(ctx, "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
		from = "time of the commit"
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	// The time of an entry in a ZIP archive begins with 1980, and is even.
	if at := time.Unix(seconds, 0).UTC(); err == nil && at.Year() >= 1980 && at.Year() < 2100 {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%s %q: want seconds since 1970, of a time from 1980 to 2099", from, text)
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.source
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
