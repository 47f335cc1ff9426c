// Package board is what the pages of the dashboard show, as values with JSON tags.
//
// It owns one value a page, and which commands' rows it is made of. It computes no number of its own: viz/stat,
// viz/edges and the others below viz do, so that a page equals `tulle viz ... -o json`. The one idea: a page is a
// function of Sources and a Query, so that a test needs no server and no browser.
package board

import (
	"context"
	"net/url"
	"time"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/parts"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// Sources is what pages are built from: numbers, and objects with the viewer's rights.
type Sources struct {
	Numbers metrics.Source
	Objects resource.Lister
	// Client is the viewer's; nil in tests that need no objects beyond Objects.
	Client           *cluster.Client
	ControlNamespace string
	// Configuration returns what the control plane tells proxies, for what exists without traffic; nil if that is not to
	// be had.
	Configuration func(context.Context) (Configuration, error)
	// History returns what numbers were; nil if the dashboard does not ask for the past.
	History func(context.Context, metrics.HistoryRequest) (metrics.History, error)
	// Version is the program's.
	Version string
	// Checks are those that Health shows; nil shows none.
	Checks *Checks
}

// Query is the state of a page, as its deep link has it.
type Query struct {
	// Namespace is "" for every namespace.
	Namespace string
	// Kind and Name are those of the object that a page is about; "" for pages about many.
	Kind, Name string
	Window     time.Duration
	// Params are all parameters of the link, those above too.
	Params url.Values
}

// Head is what every page has.
type Head struct {
	// At is when the page was built.
	At time.Time `json:"at"`
	// Window is what the link asks for, as in 1m.
	Window string `json:"window"`
	// Notes are sentences for the viewer: where the numbers come from, and what is missing. It is never null.
	Notes []string `json:"notes"`
}

// newHead returns the head of a page that is built now.
func newHead(q Query, notes []string) Head {
	return Head{At: time.Now().UTC(), Window: WindowText(q.Window), Notes: append([]string{}, notes...)}
}

// Golden are golden metrics.
type Golden = golden.Numbers

// newGolden returns the numbers as `-o json` has them; s is nil without requests.
func newGolden(s *golden.Stats) Golden { return golden.NewNumbers(s) }

// Ref names an object. Kind is as in "deployment".
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// The severities of a Problem.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Problem is something that is wrong now.
type Problem struct {
	Severity string `json:"severity"`
	Text     string `json:"text"`
	// Ref is the object that it is about; nil if it is about none.
	Ref *Ref `json:"ref"`
	// Page is the page that says more of the object's namespace, such as policies; "" is the page of the object.
	Page string `json:"page"`
	// Command shows more; "" if none does.
	Command string `json:"command"`
}

// WindowText writes a time window as people do: 1m, not 1m0s.
func WindowText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(text) > len(zero) && text[len(text)-len(zero):] == zero {
			text = text[:len(text)-len(zero)+1]
		}
	}
	return text
}

// runParts runs the parts of a page; see parts.Run.
func runParts(ctx context.Context, s Sources, of ...func(context.Context, Sources) ([]string, error)) ([]string,
	error) {
	all := make([]parts.Part, len(of))
	for i, part := range of {
		all[i] = func(ctx context.Context, own parts.Sources) ([]string, error) {
			s := s
			s.Numbers, s.Objects = own.Numbers, own.Objects
			return part(ctx, s)
		}
	}
	return parts.Run(ctx, parts.Sources{Numbers: s.Numbers, Objects: s.Objects}, all...)
}
