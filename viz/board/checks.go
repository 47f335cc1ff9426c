package board

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/cli/cluster"
)

const (
	// checksAge is how old answers may get before the cluster is asked again: that takes seconds, and many requests.
	checksAge = 30 * time.Second
	// checksTimeout bounds how long asking takes.
	checksTimeout = 2 * time.Minute
)

// Checks are the answers of `tulle check` for viewers with the same rights. They are asked for in the background, and
// by one goroutine at a time. The zero value has no answers yet. Several goroutines may use it.
type Checks struct {
	mu      sync.Mutex // guards the fields below
	latest  *HealthChecks
	certs   []check.Certificate
	began   time.Time // of the reading that runs; zero if none does
	running sync.WaitGroup
}

// HealthChecks are the answers to all checks.
type HealthChecks struct {
	// At is when they were known, and Seconds how long it took to ask.
	At       time.Time    `json:"at"`
	Seconds  float64      `json:"seconds"`
	Errors   int          `json:"errors"`
	Warnings int          `json:"warnings"`
	Groups   []CheckGroup `json:"groups"`
}

// CheckGroup is the checks under one heading of `tulle check`.
type CheckGroup struct {
	Name   string        `json:"name"`
	Checks []CheckAnswer `json:"checks"`
}

// CheckAnswer is the answer to one check. Result is success, warning or error.
type CheckAnswer struct {
	Text    string `json:"text"`
	Result  string `json:"result"`
	Message string `json:"message"`
	// Hint is the address that explains the check; "" if nothing is wrong.
	Hint string `json:"hint"`
}

// latestAnswers returns the last answers and when the reading that runs began, and starts one if they are old.
func (c *Checks) latestAnswers(ctx context.Context, s Sources) (answers *HealthChecks, certs []check.Certificate,
	began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began.IsZero() && (c.latest == nil || time.Since(c.latest.At) > checksAge) {
		c.began = time.Now().UTC()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checksTimeout) // other viewers wait for it too
		c.running.Go(func() {
			defer cancel()
			c.ask(ctx, s)
		})
	}
	return c.latest, c.certs, c.began
}

func (c *Checks) ask(ctx context.Context, s Sources) {
	began := time.Now()
	report := check.Look(ctx, check.Options{Version: s.Version, ControlNamespace: s.ControlNamespace, Log: io.Discard,
		Connect: func() (*cluster.Client, error) { return s.Client, nil }})
	answers := answersOf(report.Groups)
	answers.At, answers.Seconds = time.Now().UTC(), time.Since(began).Seconds()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest, c.certs, c.began = answers, report.Certificates, time.Time{}
}

func answersOf(groups []check.Group) *HealthChecks {
	out := &HealthChecks{Groups: []CheckGroup{}}
	for _, g := range groups {
		group := CheckGroup{Name: g.Name, Checks: []CheckAnswer{}}
		for _, a := range g.Checks {
			switch a.Result {
			case SeverityError:
				out.Errors++
			case SeverityWarning:
				out.Warnings++
			}
			group.Checks = append(group.Checks, CheckAnswer(a))
		}
		out.Groups = append(out.Groups, group)
	}
	return out
}
