package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/test/bench/systems"
)

// startWatcher starts the program that watches the pair, where the system has one, and waits until the proxies have its
// subscription.
func (n *lane) startWatcher(ctx context.Context, setup systems.Setup) error {
	if n.system.Watcher == nil {
		return nil
	}
	n.counts = filepath.Join(setup.Dir, systems.TapCounts)
	var err error
	if n.watcher, err = n.system.Watcher(setup).Start(ctx, setup.Dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	admins := []netip.AddrPort{systems.TulleInAdmin}
	if n.bench.options.config.Tapped == systems.TappedBoth {
		admins = append(admins, systems.TulleOutAdmin)
	}
	n.tapped = len(admins)
	for _, admin := range admins {
		for {
			text, err := exchange(ctx, "GET", fmt.Sprintf("http://%s/metrics", admin))
			if err == nil && strings.Contains(string(text), "\ntulle_tap_subscriptions 1\n") {
				break
			}
			if dead := n.watcher.Alive(); dead != nil {
				return dead
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s has no subscription: %w", admin, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// watched ends the watcher and adds what it saw to the figures: requests a second of each proxy, and the share of the
// events that were lost.
func (n *lane) watched(f figures) error {
	if n.watcher == nil {
		return nil
	}
	if err := n.watcher.Alive(); err != nil {
		return err
	}
	n.watcher.Stop()
	text, err := os.ReadFile(n.counts)
	if err != nil {
		return fmt.Errorf("read what the watcher saw: %w", err)
	}
	var seen struct{ Requests, Events, Lost, Seconds float64 }
	if err := json.Unmarshal(text, &seen); err != nil {
		return fmt.Errorf("read what the watcher saw: %w", err)
	}
	if seen.Requests == 0 {
		return fmt.Errorf("watch the pair: %w", errNoRequests)
	}
	f["watched.throughput"] = seen.Requests / seen.Seconds / float64(n.tapped)
	f["watched.lost"] = seen.Lost / (seen.Events + seen.Lost)
	return nil
}
