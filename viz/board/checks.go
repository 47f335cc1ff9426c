package board

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
)

const (
	// checksAge is how old results may get before the checks run again. A run takes seconds and many requests.
	checksAge = 30 * time.Second
	// checksTimeout bounds one run.
	checksTimeout = 2 * time.Minute
)

// Checks runs `tulle check` in the background for viewers with the same rights, one run at a time, and stores the
// results. The zero value is ready to use and has no results. Several goroutines may use it.
type Checks struct {
	// Render renders the manifests of an installation; nil leaves out the checks that need them.
	Render install.Renderer

	mu      sync.Mutex // guards the fields below
	latest  *HealthChecks
	certs   []check.Certificate
	began   time.Time // of the run in progress; zero if none is
	running sync.WaitGroup
}

// HealthChecks are the results of all checks.
type HealthChecks struct {
	// At is when the run ended, and Seconds how long it took.
	At       time.Time    `json:"at"`
	Seconds  float64      `json:"seconds"`
	Errors   int          `json:"errors"`
	Warnings int          `json:"warnings"`
	Groups   []CheckGroup `json:"groups"`
}

// CheckGroup is the checks under one heading of `tulle check`.
type CheckGroup struct {
	Name   string        `json:"name"`
	Checks []CheckResult `json:"checks"`
}

// CheckResult is the result of one check. Result is success, warning or error.
type CheckResult struct {
	Text    string `json:"text"`
	Result  string `json:"result"`
	Message string `json:"message"`
	// Hint is the address that explains the check; "" if nothing is wrong.
	Hint string `json:"hint"`
}

// latestResults returns the last results, nil before the first, and when the run in progress began, zero if none is. It
// starts a run if the results are old.
func (c *Checks) latestResults(ctx context.Context, s Sources) (results *HealthChecks, certs []check.Certificate,
	began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began.IsZero() && (c.latest == nil || time.Since(c.latest.At) > checksAge) {
		c.began = time.Now().UTC()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checksTimeout) // other viewers wait for this run too
		c.running.Go(func() {
			defer cancel()
			c.ask(ctx, s)
		})
	}
	return c.latest, c.certs, c.began
}

func (c *Checks) ask(ctx context.Context, s Sources) {
	began := time.Now()
	report := check.Look(ctx, check.Options{Version: s.Version, Render: c.Render,
		ControlNamespace: s.ControlNamespace, Log: io.Discard,
		Connect: func() (*cluster.Client, error) { return s.Client, nil }})
	results := newHealthChecks(report.Groups)
	results.At, results.Seconds = time.Now().UTC(), time.Since(began).Seconds()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest, c.certs, c.began = results, report.Certificates, time.Time{}
}

func newHealthChecks(groups []check.Group) *HealthChecks {
	out := &HealthChecks{Groups: []CheckGroup{}}
	for _, g := range groups {
		group := CheckGroup{Name: g.Name, Checks: []CheckResult{}}
		for _, a := range g.Checks {
			switch a.Result {
			case SeverityError:
				out.Errors++
			case SeverityWarning:
				out.Warnings++
			}
			group.Checks = append(group.Checks, CheckResult(a))
		}
		out.Groups = append(out.Groups, group)
	}
	return out
}
