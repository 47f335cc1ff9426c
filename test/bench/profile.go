package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// profile fetches CPU profiles of both of Tulle's proxies while a load runs, into the directory that the command line names. What is
// measured meanwhile is a little worse than without.
func (n *lane) profile(ctx context.Context, name string) (wait func() error) {
	dir := n.bench.options.config.Profiles
	if dir == "" || n.system.Name != "tulle" {
		return func() error { return nil }
	}
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i, side := range []string{"127.0.0.1", "127.0.0.2"} {
		file := filepath.Join(dir, fmt.Sprintf("%s-%s.pprof", name, [...]string{"out", "in"}[i]))
		url := fmt.Sprintf("http://%s:4191/debug/pprof/profile?seconds=%.0f", side, max(1, n.bench.plan.measure.Seconds()-1))
		both.Go(func() { errs[i] = fetch(ctx, url, file) })
	}
	return func() error {
		both.Wait()
		return errors.Join(errs...)
	}
}

func fetch(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("fetch profile: %w", err)
	}
	request.Host = "localhost"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("fetch profile: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch profile: %s: %w", response.Status, err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}
