package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/test/step"
)

// expectation is what an edge of the shop has to show: the share of its calls that succeed. NaN is an edge whose
// answers do not end: it only has to be there, secured.
type expectation struct {
	src, dst string
	success  float64
}

// expected is the shop as shop.yaml describes it: checkout fails one call of ten, and one call of five that customers
// make is a checkout. The Job is not in it: it ended, and its calls are forgotten when catalog's pods are replaced.
var expected = []expectation{
	{"load", "web", 0.98},
	{"load", "live", math.NaN()},
	{"web", "catalog", 1},
	{"web", "cart", 1},
	{"web", "checkout", 0.9},
	{"checkout", "cart", 1},
	{"cart", "redis", math.NaN()},
}

// tolerance of a success rate below one: each replica counts its own tenth, and calls are in flight at both ends of the
// window.
const tolerance = 0.03

// show watches the traffic, checks it, and prints what viz says of it.
func (d *demo) show(ctx context.Context) error {
	if err := d.progress.Do("traffic on every edge, and in Prometheus", func() (string, error) {
		return "", d.awaitTraffic(ctx)
	}); err != nil {
		return err
	}
	var w window
	err := d.progress.Do(fmt.Sprintf("watch the traffic for %s", d.window), func() (string, error) {
		var err error
		w, err = d.watch(ctx)
		return fmt.Sprintf("%d proxies", w.proxies), err
	})
	if err != nil {
		return err
	}
	if err := compare(w.recent, w.total); err != nil {
		return err
	}
	for _, args := range d.views() {
		out, err := d.viz(ctx, args...)
		if err != nil {
			return err
		}
		d.progress.Say("\n$ tulle viz %s\n%s", strings.Join(args, " "), out)
	}
	d.progress.Say(
		"\nAn edge from - is a caller without a proxy (the kubelet probes redis, and the API server asks load for the "+
			"customers' count), or one that has ended (the Job).\nThe customers count %s themselves, viz counts %s. Every "+
			"edge between meshed pods is mutual TLS, the Job has ended, and the failures are the injected ones. (%s)",
		w.customers, w.seen, d.progress.Since())
	if err := d.progress.Do("tulle viz dashboard", func() (string, error) { return d.openDashboard(ctx) }); err != nil {
		return err
	}
	d.progress.Say("%s", d.hints())
	return nil
}

// views are the commands that the demo ends with.
func (d *demo) views() [][]string {
	return [][]string{{"stat", "deploy", "-n", namespace, "-t", d.window.String()}, {"edges", "deploy", "-n", namespace}}
}

// window is what was counted in one.
type window struct {
	recent, total   reading
	customers, seen rates
	proxies         int
}

// watch counts for the length of a window, in three ways: at the proxies, at the customers and with viz. A busy machine
// sends unevenly, so customers and viz may look at different seconds: then it watches again.
func (d *demo) watch(ctx context.Context) (w window, err error) {
	for range 3 {
		if w, err = d.watchOnce(ctx); err != nil {
			return w, err
		}
		if err = w.seen.agree(w.customers); err == nil {
			return w, nil
		}
	}
	return w, err
}

func (d *demo) watchOnce(ctx context.Context) (w window, err error) {
	pods, err := d.pods(ctx)
	if err != nil {
		return w, err
	}
	w.proxies = len(pods)
	before, err := d.scrape(ctx, pods)
	if err != nil {
		return w, err
	}
	begun, err := d.customers(ctx, pods)
	if err != nil {
		return w, err
	}
	select {
	case <-ctx.Done():
		return w, ctx.Err()
	case <-time.After(d.window):
	}
	ended, err := d.customers(ctx, pods)
	if err != nil {
		return w, err
	}
	w.customers = ended.since(begun)
	if w.seen, err = d.seen(ctx, d.window); err != nil {
		return w, err
	}
	if w.total, err = d.scrape(ctx, pods); err != nil {
		return w, err
	}
	w.recent = w.total.since(before)
	return w, nil
}

// awaitTraffic waits until every expected edge has been used, so that the window does not begin before the shop opens,
// and until Prometheus has read the customers' proxy twice.
func (d *demo) awaitTraffic(ctx context.Context) error {
	return step.Eventually(ctx, time.Minute, func() error {
		pods, err := d.pods(ctx)
		if err != nil {
			return err
		}
		r, err := d.scrape(ctx, pods)
		if err != nil {
			return err
		}
		if err := r.missing(); err != nil {
			return err
		}
		_, err = d.seen(ctx, shortestWindow)
		return err
	})
}

// missing names the expected edges that carried nothing yet.
func (r reading) missing() error {
	var absent []string
	for _, x := range expected {
		used := false
		for e, t := range r {
			used = used || e.src == x.src && e.dst == x.dst && t.success+t.failure+t.connections > 0
		}
		if !used {
			absent = append(absent, x.src+" -> "+x.dst)
		}
	}
	if len(absent) > 0 {
		return fmt.Errorf("no traffic seen: %s", strings.Join(absent, ", "))
	}
	return nil
}

// security is mutual, or the reason why not. Calls that found no endpoint to go to never had a connection.
func (e edge) security() string {
	switch {
	case e.tls == "true":
		return "mutual"
	case e.tls == "":
		return "- (no connection)"
	case e.why != "":
		return "no: " + e.why
	}
	return "no: " + e.tls
}

// compare compares what was seen with what the shop is made to do.
func compare(recent, total reading) error {
	var faults []error
	if err := total.missing(); err != nil {
		faults = append(faults, err)
	}
	for e, t := range recent { // before, pods may have had no proxy yet: the demo also runs on a shop that joins the mesh
		if used := t.success+t.failure+t.connections > 0; used && e.src != unmeshed && e.tls != "true" && e.tls != "" {
			faults = append(faults, fmt.Errorf("%s -> %s is not secured: %s", e.src, e.dst, e.security()))
		}
	}
	for _, x := range expected {
		var sum traffic
		for e, t := range recent {
			if e.src == x.src && e.dst == x.dst {
				sum.success, sum.failure = sum.success+t.success, sum.failure+t.failure
			}
		}
		if err := x.check(sum); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (x expectation) check(t traffic) error {
	calls := t.success + t.failure
	switch {
	case math.IsNaN(x.success):
		return nil
	case calls == 0:
		return fmt.Errorf("%s -> %s: no call in the window", x.src, x.dst)
	case x.success == 1 && t.failure > 0:
		return fmt.Errorf("%s -> %s: %.0f of %.0f calls failed, want none", x.src, x.dst, t.failure, calls)
	case math.Abs(t.success/calls-x.success) > tolerance:
		return fmt.Errorf("%s -> %s: %.1f %% of %.0f calls succeeded, want %.1f %%", x.src, x.dst, 100*t.success/calls, calls,
			100*x.success)
	}
	return nil
}
