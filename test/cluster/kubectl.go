package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// kubectl runs the cluster's own kubectl as administrator and returns what it printed.
func kubectl(ctx context.Context, l layout, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.binary("kubectl"), append([]string{"--kubeconfig", l.kubeconfig()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, tail(string(out), 10))
	}
	return strings.TrimSpace(string(out)), nil
}

// eventually calls fn until it succeeds or the time is up; then the last error is returned.
func eventually(ctx context.Context, limit time.Duration, fn func() error) error {
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
