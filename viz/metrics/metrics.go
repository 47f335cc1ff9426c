// Package metrics is how the viz commands ask for numbers of the mesh, wherever they come from.
//
// It owns the question (Query), the answer (Sample) and the arithmetic on answers (Quantile). It sends nothing itself:
// a Source does. The one idea: every number is the increase of a counter in a window, or the value of a gauge now,
// summed by labels. So a Prometheus and a scrape of the proxies answer the same question in the same way.
package metrics

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// MinWindow is the shortest window that users may ask for. An increase needs two samples. With a scrape every 10 s, a
// window under about 25 s may hold only one, and then shows no increase.
const MinWindow = 15 * time.Second

// Query asks for the sum of one metric.
type Query struct {
	// Metric is the name of a counter or gauge, or a histogram's name with _bucket, _sum or _count.
	Metric string `json:"metric"`
	// Match selects the series; all of it must match. None selects all.
	Match []Match `json:"match,omitempty"`
	// By names the labels that the samples keep. None makes one sample of all.
	By []string `json:"by,omitempty"`
	// Now asks for the present value of a gauge. Otherwise the query asks for the increase of a counter in the window.
	Now bool `json:"now,omitempty"`
}

// Match selects series by one label. A label that a series does not have counts as "", as in Prometheus.
type Match struct {
	Label string `json:"label"`
	Op    Op     `json:"op"`
	Value string `json:"value"`
}

// Op is how a Match compares.
type Op string

// The comparisons of PromQL that the commands use.
const (
	Equal    Op = "="
	NotEqual Op = "!="
)

// Sample is one sum. Labels holds the labels of Query.By that are not "".
type Sample struct {
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// Answer has one slice of samples for each query, in the order of the queries.
type Answer struct {
	Samples [][]Sample `json:"samples"`
	// Window is the time that the increases cover.
	Window time.Duration `json:"window"`
	// Notes are sentences for the user: where the numbers come from if not from a Prometheus, and what is missing.
	Notes []string `json:"notes,omitempty"`
}

// QueryPath is where metrics-api takes a Request and returns an Answer.
const QueryPath = "/api/v1/query"

// WaitHeader is the field of an interim response of metrics-api with the seconds until it can answer.
const WaitHeader = "Tulle-Wait"

// Request holds the arguments of Source.Ask, as the JSON body of a request to metrics-api.
type Request struct {
	Window  time.Duration `json:"window"` // in nanoseconds, as in Answer
	Queries []Query       `json:"queries"`
}

// A Source answers queries: a Prometheus, the proxies themselves, or the metrics-api of the viz extension.
type Source interface {
	// Ask answers all queries for the same window, which ends now. It returns an error if it cannot answer one of them.
	// A proxy that cannot be read becomes a note, not an error.
	Ask(ctx context.Context, window time.Duration, queries []Query) (Answer, error)
}

// Is returns a Match for series whose label has the value.
func Is(label, value string) Match { return Match{Label: label, Op: Equal, Value: value} }

// Not returns a Match for series whose label has another value, or that do not have the label.
func Not(label, value string) Match { return Match{Label: label, Op: NotEqual, Value: value} }

// Validate returns an error about the first part of q that is not a valid name of a metric or label, or not an Op.
// Label values may be any text.
func (q Query) Validate() error {
	if !model.LegacyValidation.IsValidMetricName(q.Metric) {
		return fmt.Errorf("metric %q: not a name", q.Metric)
	}
	labels := slices.Clone(q.By)
	for _, m := range q.Match {
		if m.Op != Equal && m.Op != NotEqual {
			return fmt.Errorf("comparison %q of label %q: want = or !=", m.Op, m.Label)
		}
		labels = append(labels, m.Label)
	}
	for _, l := range labels {
		if !model.LegacyValidation.IsValidLabelName(l) {
			return fmt.Errorf("label %q: not a name", l)
		}
	}
	return nil
}

// Validate returns an error about the first of several queries that is not valid, or about a window in which nothing
// can increase.
func Validate(window time.Duration, queries []Query) error {
	for i, q := range queries {
		if err := q.Validate(); err != nil {
			return fmt.Errorf("query %d: %w", i+1, err)
		}
		if !q.Now && window < time.Second {
			return fmt.Errorf("time window %v: want at least 1s", window)
		}
	}
	return nil
}

// PromQL returns the query in PromQL, for the series of the jobs, or of all jobs if none is given. Label values are
// quoted, so none can change the query. q must be valid.
func (q Query) PromQL(window time.Duration, jobs ...string) string {
	selector := q.Selector(jobs...)
	if !q.Now {
		selector = fmt.Sprintf("increase(%s[%s])", selector, model.Duration(window.Round(time.Second)))
	}
	return fmt.Sprintf("sum by (%s) (%s)", strings.Join(q.By, ", "), selector)
}

// Selector returns the instant vector selector of the query in PromQL; see PromQL for jobs.
func (q Query) Selector(jobs ...string) string {
	var matchers []string
	switch len(jobs) {
	case 0:
	case 1:
		matchers = append(matchers, matcher("job", "=", jobs[0]))
	default:
		names := make([]string, len(jobs))
		for i, job := range jobs {
			names[i] = regexp.QuoteMeta(job)
		}
		matchers = append(matchers, matcher("job", "=~", strings.Join(names, "|")))
	}
	for _, m := range q.Match {
		matchers = append(matchers, matcher(m.Label, string(m.Op), m.Value))
	}
	return q.Metric + "{" + strings.Join(matchers, ",") + "}"
}

func matcher(label, op, value string) string {
	return fmt.Sprintf("%s%s%q", label, op, strings.ToValidUTF8(value, "\uFFFD"))
}

// Selects reports whether q asks for a series whose labels the function returns. It returns "" for those not there.
func (q Query) Selects(label func(name string) string) bool {
	for _, m := range q.Match {
		if (label(m.Label) == m.Value) != (m.Op == Equal) {
			return false
		}
	}
	return true
}
