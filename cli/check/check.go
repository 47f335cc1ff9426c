// Package check asks a cluster what is wrong with an installation of Tulle.
//
// It owns the questions, in which order they are asked, and how answers are written. It reads the cluster and changes
// nothing. The one idea: a check is a function over one reading of the cluster, the facts. So checks do not depend on
// each other, and --wait is another reading.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/viz/table"
)

// check is one question about the cluster. It sees the facts alone: checks do not depend on each other, and a test can
// ask one.
type check struct {
	// anchor is where docs/checks.md explains the check; it is the same in every release.
	anchor string
	text   string
	// warns says that a failure is worth a warning only.
	warns bool
	// fatal says that nothing after the check means anything when it fails.
	fatal bool
	// transient says that a failure may pass by itself, so that --wait waits for it, unless it is permanent.
	transient bool
	ask       func(*facts) error
}

// category is a group of checks under one heading.
type category struct {
	name   string
	checks []check
}

// Options say which questions to ask which cluster.
type Options struct {
	// Pre asks only what must hold before the installation, CRDs only for definitions, Viz only about the viz extension,
	// Proxy also about the proxies.
	Pre, CRDs, Viz, Proxy bool
	// Dated also reads what Outlook needs: the objects with annotations that say when something ends.
	Dated bool
	// Now is the clock; nil is this machine's.
	Now func() time.Time
	// Version is what the control plane and the proxies should have.
	Version string
	// Render renders the manifests of an installation. Without it, what they are needed for is not asked.
	Render install.Renderer
	// Wait is how long to wait for failures that may pass by themselves.
	Wait time.Duration
	// ControlNamespace is the control plane's. Namespace restricts the questions about proxies; "" is all.
	ControlNamespace, Namespace string
	// Connect reaches the cluster. It is called for each reading.
	Connect func() (*cluster.Client, error)
	// Log receives a line for each thing that Run waits for.
	Log io.Writer
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// hintBase is where the anchors of checks lead.
const hintBase = "https://github.com/tulle-mesh/tulle/blob/main/docs/checks.md#"

// pollInterval is how often check looks again while it waits.
const pollInterval = 2 * time.Second

// Run asks until no check fails that may pass by itself, or time is up. It returns the last answers.
func Run(ctx context.Context, opts Options) Results {
	deadline := time.NewTimer(opts.Wait)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	durations := regexp.MustCompile(`\b([0-9]+h)?([0-9]+m)?[0-9]+s\b`) // how long something lasts is not a change
	logged := ""
	var last Results // of the last round that nobody interrupted
	var known links
	for {
		f := gather(ctx, opts, known)
		known = f.links
		results := examine(checks(opts), f)
		if ctx.Err() != nil {
			fmt.Fprintln(opts.Log, "interrupted; this is how far it came:")
			if last != nil {
				return last
			}
			return results
		}
		last = results
		waitingFor := firstTransient(results)
		if waitingFor == "" || opts.Wait <= 0 {
			return results
		}
		if line := durations.ReplaceAllString(waitingFor, ""); line != logged {
			fmt.Fprintln(opts.Log, "waiting:", table.Safe(strings.ReplaceAll(waitingFor, "\n", "; ")))
			logged = line
		}
		select {
		case <-ctx.Done():
		case <-deadline.C:
			return results
		case <-poll.C:
		}
	}
}

// checks returns what the options ask about, in the order in which it is shown.
func checks(opts Options) []category {
	categories := []category{kubernetesAPI(), kubernetesVersion()}
	switch {
	case opts.Pre:
		return append(categories, preInstallation())
	case opts.CRDs:
		return append(categories, gatewayDefinitions(), ownDefinitions())
	case opts.Viz:
		return append(categories, viz(opts.Proxy))
	}
	categories = append(categories, gatewayDefinitions(), existence(), configuration(), identityChecks(), webhookChecks(),
		versionChecks(), haChecks())
	if opts.Proxy {
		categories = append(categories, dataPlane())
	}
	return append(categories, viz(opts.Proxy))
}

// result is the answer to a check.
type result string

const (
	passed result = "success"
	warned result = "warning"
	failed result = "error"
)

type checkResult struct {
	check
	result result
	err    error
}

type categoryResult struct {
	name   string
	checks []checkResult
}

// Results are the answers to all checks that were asked, by category.
type Results []categoryResult

// examine asks every check; a fatal one that fails is the last.
func examine(categories []category, f *facts) Results {
	var results Results
	for _, cat := range categories {
		result := categoryResult{name: cat.name}
		for _, ch := range cat.checks {
			r := checkResult{check: ch, result: passed, err: ch.ask(f)}
			if errors.Is(r.err, errNotAsked) {
				continue
			}
			if apierrors.IsForbidden(r.err) {
				r.err = fmt.Errorf("you may not look: %w", r.err)
			}
			if r.err != nil {
				r.result = failed
				if ch.warns || errors.As(r.err, new(minor)) {
					r.result = warned
				}
			}
			result.checks = append(result.checks, r)
			if r.result == failed && ch.fatal {
				return append(results, result)
			}
		}
		if result.checks != nil {
			results = append(results, result)
		}
	}
	return results
}

// title says what was checked. Where the API server does not let the user look, nothing is known of it.
func (r *checkResult) title() string {
	if apierrors.IsForbidden(r.err) {
		return "not known: " + r.text
	}
	return r.text
}

// errNotAsked is the answer of a check that does not concern this installation; such a check is not shown.
var errNotAsked = errors.New("not asked")

// minor is a failure of a check that is worth a warning only, where another failure of it is an error.
type minor struct{ error }

func (m minor) Unwrap() error { return m.error }

// firstTransient returns the first failure that may pass by itself, or "".
func firstTransient(results Results) string {
	for _, cat := range results {
		for _, r := range cat.checks {
			if r.transient && r.result == failed && !apierrors.IsForbidden(r.err) && isTransient(r.err) {
				return fmt.Sprintf("%s: %v", r.text, r.err)
			}
		}
	}
	return ""
}

// Succeeded reports whether nothing is wrong. Warnings do not count.
func (r Results) Succeeded() bool {
	return !slices.ContainsFunc(r, func(cat categoryResult) bool {
		return slices.ContainsFunc(cat.checks, func(r checkResult) bool { return r.result == failed })
	})
}
