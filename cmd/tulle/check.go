package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// check is one question about the cluster. It sees the facts alone, so that checks do not depend on each other and a test can ask one.
type check struct {
	// anchor is where docs/checks.md explains the check; it is the same in every release.
	anchor string
	text   string
	// warns says that a failure is worth a warning only.
	warns bool
	// fatal says that nothing after the check means anything when it fails.
	fatal bool
	// settles says that the answer may change by itself, so that --wait waits for it, unless it is lasting.
	settles bool
	ask     func(*facts) error
}

// category is a group of checks under one heading.
type category struct {
	name   string
	checks []check
}

// hintBase is where the anchors of checks lead.
const hintBase = "https://github.com/tulle-mesh/tulle/blob/main/docs/checks.md#"

// checkOptions are the flags of check.
type checkOptions struct {
	pre, proxy, crds bool
	expected         string
	wait             time.Duration
	output           string
}

// checkFlagsWithoutMeaning are flags of linkerd check that change nothing here.
var checkFlagsWithoutMeaning = []flagWithoutMeaning{
	{name: "cni-namespace", reason: "there is no CNI plugin", valued: true},
	{name: "linkerd-cni-enabled", reason: "there is no CNI plugin; capture is programmed by the init container"},
	{name: "cli-version-override", reason: "nothing is asked outside of the cluster; --expected-version says what to expect", valued: true},
}

func (c *cli) checkCommand() *cobra.Command {
	opts := checkOptions{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find out what is wrong with the installation",
		Long: `check asks the cluster a list of questions and says what is wrong, and where the answer is explained. It only reads.

With --pre it asks whether Tulle can be installed; with --proxy also about the proxies, of all namespaces or that of -n, and asks these
themselves whether they hear the control plane. It waits for what may settle by itself, such as pods that start. Where no pod has
a proxy and none is about to, or the API server forbids a workload's pods, it says so at once. The exit code is 1 when something is wrong (×); warnings (‼) leave it at 0.`,
		Example: `  tulle check --pre
  tulle check
  tulle -n shop check --proxy
  tulle check --wait=0s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.warnWithoutMeaning(cmd.Flags(), checkFlagsWithoutMeaning)
			return c.check(cmd.Context(), opts)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.pre, "pre", false, "only what must hold before the installation")
	fs.BoolVar(&opts.proxy, "proxy", false, "also the proxies")
	fs.StringVar(&opts.expected, "expected-version", "", "version that CLI, control plane and proxies should have (default: the CLI's)")
	fs.DurationVar(&opts.wait, "wait", 5*time.Minute, "how long to wait for what may settle by itself")
	fs.StringVarP(&opts.output, "output", "o", "table", "format: table, json or short")
	fs.BoolVar(&opts.crds, "crds", false, "only the custom resource definitions")
	for _, f := range checkFlagsWithoutMeaning {
		acceptWithoutMeaning(fs, f)
	}
	cmd.MarkFlagsMutuallyExclusive("pre", "proxy", "crds")
	return cmd
}

func (c *cli) check(ctx context.Context, opts checkOptions) error {
	if !slices.Contains([]string{"table", "json", "short"}, opts.output) {
		return fmt.Errorf("output %q: want table, json or short", opts.output)
	}
	if opts.expected == "" {
		opts.expected = version
	}
	results, err := c.settle(ctx, opts)
	if err != nil {
		return err
	}
	if err := writeResults(c.out, results, opts.output); err != nil {
		return err
	}
	if !succeeded(results) {
		return errReported
	}
	return nil
}

// pollInterval is how often check looks again while it waits.
const pollInterval = 2 * time.Second

// settle asks until nothing that may settle fails any more, or time is up, and returns the last answers.
func (c *cli) settle(ctx context.Context, opts checkOptions) ([]categoryResult, error) {
	deadline := time.NewTimer(opts.wait)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	said, times := "", regexp.MustCompile(`\b([0-9]+h)?([0-9]+m)?[0-9]+s\b`) // how long something lasts is no news
	var last []categoryResult                                                // of the last round that nobody interrupted
	var known links
	for {
		f := c.gather(ctx, opts, known)
		known = f.links
		results := examine(checks(opts), f)
		if ctx.Err() != nil {
			fmt.Fprintln(c.err, "interrupted; this is how far it came:")
			if last != nil {
				return last, nil
			}
			return results, nil
		}
		last = results
		waitingFor := unsettled(results)
		if waitingFor == "" || opts.wait <= 0 {
			return results, nil
		}
		if news := times.ReplaceAllString(waitingFor, ""); news != said {
			fmt.Fprintln(c.err, "waiting:", strings.ReplaceAll(waitingFor, "\n", "; "))
			said = news
		}
		select {
		case <-ctx.Done():
		case <-deadline.C:
			return results, nil
		case <-poll.C:
		}
	}
}

// checks returns what the options ask about, in the order in which it is shown.
func checks(opts checkOptions) []category {
	categories := []category{kubernetesAPI(), kubernetesVersion()}
	switch {
	case opts.pre:
		return append(categories, preInstallation())
	case opts.crds:
		return append(categories, gatewayDefinitions(), ownDefinitions())
	}
	categories = append(categories, gatewayDefinitions(), existence(), configuration(), identityChecks(), webhookChecks(), versionChecks(), haChecks())
	if opts.proxy {
		categories = append(categories, dataPlane())
	}
	return categories
}

// outcome is the answer to a check.
type outcome string

const (
	passed outcome = "success"
	warned outcome = "warning"
	failed outcome = "error"
)

type checkResult struct {
	check
	outcome outcome
	err     error
}

type categoryResult struct {
	name   string
	checks []checkResult
}

// examine asks every check; a fatal one that fails is the last.
func examine(categories []category, f *facts) []categoryResult {
	var results []categoryResult
	for _, cat := range categories {
		result := categoryResult{name: cat.name}
		for _, ch := range cat.checks {
			r := checkResult{check: ch, outcome: passed, err: ch.ask(f)}
			if errors.Is(r.err, errNotAsked) {
				continue
			}
			if apierrors.IsForbidden(r.err) {
				r.err = fmt.Errorf("you may not look: %w", r.err)
			}
			if r.err != nil {
				r.outcome = failed
				if ch.warns || errors.As(r.err, new(minor)) {
					r.outcome = warned
				}
			}
			result.checks = append(result.checks, r)
			if r.outcome == failed && ch.fatal {
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

// unsettled returns the first failure that may settle by itself, or "".
func unsettled(results []categoryResult) string {
	for _, cat := range results {
		for _, r := range cat.checks {
			if r.settles && r.outcome == failed && !apierrors.IsForbidden(r.err) && maySettle(r.err) {
				return fmt.Sprintf("%s: %v", r.text, r.err)
			}
		}
	}
	return ""
}

func succeeded(results []categoryResult) bool {
	return !slices.ContainsFunc(results, func(cat categoryResult) bool {
		return slices.ContainsFunc(cat.checks, func(r checkResult) bool { return r.outcome == failed })
	})
}
