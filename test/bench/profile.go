package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/tulle-mesh/tulle/test/bench/systems"
)

// profile fetches CPU profiles of both of Tulle's proxies while a load runs, into the directory that the command line
// names. What is measured meanwhile is a little worse than without.
func (n *lane) profile(ctx context.Context, name string) (wait func() error) {
	dir := n.bench.options.config.Profiles
	if dir == "" || n.system.Name != "tulle" {
		return func() error { return nil }
	}
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i, admin := range []netip.AddrPort{systems.TulleOutAdmin, systems.TulleInAdmin} {
		file := filepath.Join(dir, fmt.Sprintf("%s-%s.pprof", name, [...]string{"out", "in"}[i]))
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", admin, max(1, n.bench.plan.measure.Seconds()-1))
		both.Go(func() { errs[i] = fetch(ctx, url, file) })
	}
	return func() error {
		both.Wait()
		return errors.Join(errs...)
	}
}

func fetch(ctx context.Context, url, file string) error {
	data, err := exchange(ctx, http.MethodGet, url)
	if err != nil {
		return fmt.Errorf("fetch profile: %w", err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}
