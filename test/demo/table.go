package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
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

// show watches the traffic, prints the table and checks it.
func (d *demo) show(ctx context.Context) error {
	var total, recent reading
	err := d.progress.Do(fmt.Sprintf("watch the traffic for %s", d.window), func() (string, error) {
		pods, err := d.pods(ctx)
		if err != nil {
			return "", err
		}
		if err := d.awaitTraffic(ctx, pods); err != nil {
			return "", err
		}
		before, err := d.scrape(ctx, pods)
		if err != nil {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(d.window):
		}
		total, err = d.scrape(ctx, pods)
		if err != nil {
			return "", err
		}
		recent = total.since(before)
		return fmt.Sprintf("%d proxies", len(pods)), nil
	})
	if err != nil {
		return err
	}
	d.progress.Say("")
	if err := printTable(os.Stdout, recent, total, d.window); err != nil {
		return err
	}
	d.progress.Say(
		"%s: callers without an identity, here the kubelet with its probes. RPS -: no call ended in these %s, the row is "+
			"from before.",
		unmeshed, d.window)
	if err := compare(recent, total); err != nil {
		return err
	}
	d.progress.Say(
		"\nEvery edge between meshed pods is mutual TLS, the Job has ended, and the failures are the injected ones. (%s)",
		d.progress.Since())
	d.progress.Say("%s", d.hints())
	return nil
}

// awaitTraffic waits until every expected edge has been used, so that the window does not begin before the shop opens.
func (d *demo) awaitTraffic(ctx context.Context, pods []pod) error {
	return step.Eventually(ctx, time.Minute, func() error {
		r, err := d.scrape(ctx, pods)
		if err != nil {
			return err
		}
		return r.missing()
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

// printTable writes one row an edge. What moved in the window is shown by its rate; what did not, but is open or ended
// before, by its totals.
func printTable(out io.Writer, recent, total reading, window time.Duration) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SRC\tDST\tTLS\tRPS\tSUCCESS\tP50\tP99")
	edges := slices.SortedFunc(maps.Keys(total), func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.src, b.src), cmp.Compare(a.dst, b.dst), cmp.Compare(a.tls, b.tls))
	})
	for _, e := range edges {
		t, rate := total[e], "-"
		if t.success+t.failure+t.connections == 0 {
			continue
		}
		if moved := recent[e]; moved != nil && moved.success+moved.failure > 0 {
			t, rate = moved, fmt.Sprintf("%.1f", (moved.success+moved.failure)/window.Seconds())
		}
		calls := t.success + t.failure
		success := "-"
		if calls > 0 {
			success = fmt.Sprintf("%.2f%%", 100*t.success/calls)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.src, e.dst, e.security(), rate, success,
			milliseconds(quantile(0.5, t.latency)), milliseconds(quantile(0.99, t.latency)))
	}
	return w.Flush()
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

// quantile estimates a quantile as Prometheus' histogram_quantile does: linear within a bucket. NaN without
// observations.
func quantile(q float64, cumulative map[float64]float64) float64 {
	bounds := slices.Sorted(maps.Keys(cumulative))
	if len(bounds) == 0 {
		return math.NaN()
	}
	count := cumulative[bounds[len(bounds)-1]]
	if count == 0 {
		return math.NaN()
	}
	rank, lower, below := q*count, 0.0, 0.0
	for _, bound := range bounds {
		if here := cumulative[bound]; here >= rank {
			if math.IsInf(bound, 1) || here == below {
				return lower
			}
			return lower + (bound-lower)*(rank-below)/(here-below)
		}
		lower, below = bound, cumulative[bound]
	}
	return lower
}

func milliseconds(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.1fms", v)
}
