// Package main runs the guides of docs/guides, and a few pages that are like guides, as their readers do: every block
// of shell commands as it stands, in order, on the cluster that `make demo` has left.
//
// It owns how commands are found in a guide and run; what they are to show is the guide's. It must not import the
// product. The one idea: a command that a guide tells people to paste is tested by pasting it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/test/step"
)

// pages are those outside docs/guides whose commands run on the demo's cluster too, once they have any.
var pages = []string{"docs/operate/debug.md", "docs/tap.md", "docs/tracing.md"}

// blockTimeout bounds the commands of a block.
const blockTimeout = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "guides:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use: "guides [NAME...]", Short: "run the commands of docs/guides as they stand", SilenceUsage: true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, names []string) error {
			root, err := step.Checkout()
			if err != nil {
				return err
			}
			if kubeconfig == "" {
				kubeconfig = filepath.Join(root, ".cluster", "kubeconfig")
			}
			r := reader{
				root: root, out: cmd.OutOrStdout(), env: append(os.Environ(), "KUBECONFIG="+kubeconfig,
					"PATH="+filepath.Join(root, ".cluster", "bin")+":"+filepath.Join(root, "bin")+":"+os.Getenv("PATH")),
			}
			return r.read(cmd.Context(), names)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "the demo's cluster, if it is not the one on this machine")
	return cmd
}

// reader follows guides.
type reader struct {
	root string // of the checkout
	env  []string
	out  io.Writer
}

// read follows the guides of these names, all without any.
func (r reader) read(ctx context.Context, names []string) error {
	files, err := r.files()
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(file string) bool {
		name := nameOf(file)
		return name == "README" || len(names) > 0 && !slices.Contains(names, name)
	})
	if len(files) == 0 || len(names) > len(files) {
		return fmt.Errorf("docs/guides has no guides of all the names %q", names)
	}
	begun, total := time.Now(), 0
	for _, file := range files {
		n, err := r.follow(ctx, file)
		if err != nil {
			return err
		}
		total += n
	}
	_, err = fmt.Fprintf(r.out, "%d blocks of commands in %d guides ran as written (%s)\n", total, len(files),
		time.Since(begun).Round(time.Second))
	return err
}

// files returns the guides, and then the pages that have commands.
func (r reader) files() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(r.root, "docs", "guides", "*.md"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		file := filepath.Join(r.root, page)
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if len(blocksOf(string(text))) > 0 {
			files = append(files, file)
		}
	}
	return files, nil
}

func nameOf(file string) string { return strings.TrimSuffix(filepath.Base(file), ".md") }

// follow runs the blocks of a guide until one fails, and returns how many there are.
func (r reader) follow(ctx context.Context, file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	blocks := blocksOf(string(text))
	if len(blocks) == 0 {
		return 0, fmt.Errorf("guide %s has no commands", nameOf(file))
	}
	for i, block := range blocks {
		fmt.Fprintf(r.out, "--- %s, %d of %d\n%s", nameOf(file), i+1, len(blocks), block)
		if err := r.run(ctx, block); err != nil {
			return 0, fmt.Errorf("guide %s, commands %d of %d: %w", nameOf(file), i+1, len(blocks), err)
		}
	}
	return len(blocks), nil
}

// run executes a block as one script that ends at the first command that fails.
func (r reader) run(ctx context.Context, block string) error {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", block)
	cmd.Dir, cmd.Env = r.root, r.env
	cmd.Stdout, cmd.Stderr = r.out, r.out
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done after %s", blockTimeout)
	}
	return err
}

// blocksOf returns the fenced blocks of a Markdown text that are marked sh.
func blocksOf(text string) (blocks []string) {
	var block strings.Builder
	fenced, shell := false, false
	for line := range strings.Lines(text) {
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && !fenced:
			fenced, shell = true, language == "sh"
		case fence:
			if shell {
				blocks = append(blocks, block.String())
			}
			fenced, shell = false, false
			block.Reset()
		case shell:
			block.WriteString(line)
		}
	}
	return blocks
}
