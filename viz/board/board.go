// Package board is what the pages of the dashboard show, as values with JSON tags.
//
// It owns the value of each page, and the list of commands whose rows a page has. It computes no numbers: viz/stat,
// viz/edges and the other packages below viz do, so that a page equals `tulle viz ... -o json`. The one idea: a page is
// a function of Sources and a Query, so that a test needs no server and no browser.
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

// Sources are what pages are built from: numbers, and objects that are read with the viewer's rights.
type Sources struct {
	Numbers metrics.Source
	Objects resource.Lister
	// Client has the viewer's credentials; nil in tests that need only Objects.
	Client           *cluster.Client
	ControlNamespace string
	// Configuration returns what the control plane tells proxies about a namespace, for what exists without traffic; nil
	// if that is not to be had.
	Configuration func(ctx context.Context, namespace string) (Configuration, error)
	// History returns the numbers of the past; nil if the dashboard does not know them.
	History func(context.Context, metrics.HistoryRequest) (metrics.History, error)
	// Scope returns the namespaces to list for a page about all of them; nil means one list of all.
	Scope func(context.Context) ([]string, error)
	// Version is the version of this program.
	Version string
	// Checks are the checks of the page Health; nil for none.
	Checks *Checks
}

// Query is the state of a page, from its deep link.
type Query struct {
	// Namespace is "" for every namespace.
	Namespace string
	// Kind and Name are those of the object of the page; "" for a page about many objects.
	Kind, Name string
	Window     time.Duration
	// Params are all parameters of the link, including those above.
	Params url.Values
}

// Head has the fields of every page.
type Head struct {
	// At is when the page was built.
	At time.Time `json:"at"`
	// Window is the time window of the link, as in 1m.
	Window string `json:"window"`
	// Notes are sentences for the viewer: where the numbers come from, and what is missing. Backticks mark commands. It
	// is never null.
	Notes []string `json:"notes"`
}

// newHead returns the head of a page, with the present time.
func newHead(q Query, notes []string) Head {
	return Head{At: time.Now().UTC(), Window: WindowText(q.Window), Notes: append([]string{}, notes...)}
}

// Golden has the golden metrics: success from 0 to 1, requests per second, and latencies in milliseconds. Without
// requests the rate is 0 and the others are nil.
type Golden = golden.Numbers

// newGolden returns the numbers as in `-o json`. s is nil without requests.
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

// Problem is something wrong that the page Overview reports. Text is a sentence, never HTML.
type Problem struct {
	Severity string `json:"severity"`
	Text     string `json:"text"`
	// Ref is the object with the problem; nil for none.
	Ref *Ref `json:"ref"`
	// Page is the page with more about the object's namespace, such as policies; "" is the page of the object.
	Page string `json:"page"`
	// Command shows more; "" if none does.
	Command string `json:"command"`
}

// WindowText writes a time window without zero units: 1m, not 1m0s.
func WindowText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(text) > len(zero) && text[len(text)-len(zero):] == zero {
			text = text[:len(text)-len(zero)+1]
		}
	}
	return text
}

// runParts runs the parts of a page concurrently, and returns their notes; see parts.Run.
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
