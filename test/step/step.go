// Package step is how the tools of this module work through their tasks: one line a step, programs whose output is part
// of their error, waiting with a bound.
//
// It owns nothing of what the steps do, and must not import any other package of Tulle.
package step

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Progress prints what a tool does, with the time that each step took. The zero value is not usable: see New.
type Progress struct {
	out   io.Writer
	begun time.Time
}

// New returns a Progress that writes to out; its clock starts now.
func New(out io.Writer) *Progress { return &Progress{out: out, begun: time.Now()} }

// Do runs fn and prints its name and outcome. fn returns a word or two about what it found or did; "" adds nothing. An
// error comes back with the step's name in front.
func (p *Progress) Do(name string, fn func() (string, error)) error {
	begun := time.Now()
	fmt.Fprintf(p.out, "  .. %s\n", name)
	note, err := fn()
	took := time.Since(begun).Round(100 * time.Millisecond)
	if err != nil {
		fmt.Fprintf(p.out, "  !! %s (%s)\n", name, took)
		return fmt.Errorf("%s: %w", name, err)
	}
	if note != "" {
		note = ": " + note
	}
	fmt.Fprintf(p.out, "  ok %s%s (%s)\n", name, note, took)
	return nil
}

// Say prints a line.
func (p *Progress) Say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// Since returns the time since New, rounded for people.
func (p *Progress) Since() time.Duration { return time.Since(p.begun).Round(100 * time.Millisecond) }

// Run executes a program to its end in dir, with env added to the environment. What it printed becomes part of the
// error when it fails.
func Run(ctx context.Context, dir string, env []string, program string, args ...string) error {
	_, err := Output(ctx, dir, env, program, args...)
	return err
}

// Output is Run that returns what the program printed to its standard output, without white space around it.
func Output(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	return Collect(cmd)
}

// Collect runs a prepared command whose output nobody took yet, as Output does.
func Collect(cmd *exec.Cmd) (string, error) {
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		said := complaints.String() + out.String()
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), err, Tail(said, 20))
	}
	return strings.TrimSpace(out.String()), nil
}

// Tail returns the last lines of a text.
func Tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Eventually calls fn until it succeeds or limit has passed; then the last error is returned.
func Eventually(ctx context.Context, limit time.Duration, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-ticker.C:
		}
	}
}

// GoBuild compiles a static program from a module's folder. The target appears when it is whole, so an interrupted
// build leaves nothing to trip over.
func GoBuild(ctx context.Context, module, pkg, target string, flags ...string) error {
	golang, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	tmp := target + ".tmp"
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", tmp}, flags...)
	err = Run(ctx, module, []string{"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="}, golang, append(args, pkg)...)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, target); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}
