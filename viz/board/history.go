package board

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/subject"
)

// HistoryPage is the golden metrics of one workload, pod or Service over time, as the pages of these have them.
type HistoryPage struct {
	Head
	Ref
	// Span is the time that is covered, as in 1h; Step is the time from one value to the next, in seconds.
	Span string `json:"span"`
	Step int    `json:"step"`
	// Missing says why there are no values, and Remedy what helps. Both are "" if there are values.
	Missing string `json:"missing"`
	Remedy  string `json:"remedy"`
	// Times are in seconds since 1970. The other lists have one value for each time; nil means not known. Success is from
	// 0 to 1, RPS is requests per second, and the latencies are in milliseconds. RPS is 0 at times without requests. The
	// lists are never null.
	Times   []int64    `json:"times"`
	Success []*float64 `json:"success"`
	RPS     []*float64 `json:"rps"`
	P50     []*float64 `json:"p50"`
	P95     []*float64 `json:"p95"`
	P99     []*float64 `json:"p99"`
	// Command is the PromQL of the requests.
	Command string `json:"command"`
}

// historySteps are the spans that a link may ask for, with the step between values and the window of each value. A
// window is longer than several scrapes, so that an increase can be computed.
var historySteps = map[string]metrics.HistoryRequest{
	"10m": {Span: 10 * time.Minute, Step: 15 * time.Second, Window: time.Minute},
	"1h":  {Span: time.Hour, Step: 30 * time.Second, Window: time.Minute},
	"6h":  {Span: 6 * time.Hour, Step: 3 * time.Minute, Window: 3 * time.Minute},
}

// defaultSpan is the span of a link that names none.
const defaultSpan = "1h"

// History returns the golden metrics over time of the workload, pod or Service that the link names. The parameter span
// is 10m, 1h or 6h; without it, 1h. If nobody knows the past, the page says why: that is not an error.
func History(ctx context.Context, s Sources, q Query) (HistoryPage, error) {
	refuse := func(format string, args ...any) (HistoryPage, error) {
		return HistoryPage{}, &Refusal{Code: BadRequest, Message: fmt.Sprintf(format, args...)}
	}
	span := q.Params.Get("span")
	if span == "" {
		span = defaultSpan
	}
	request, ok := historySteps[span]
	if !ok {
		return refuse("span %q: want 10m, 1h or 6h", span)
	}
	kind, err := resource.ParseKind(q.Kind)
	if err != nil || !kind.HasPods() && kind.Name != "service" || kind.Name == resource.Namespace || q.Name == "" ||
		q.Namespace == "" {
		return refuse("history of %s %q: want the kind, the namespace and the name of a workload or a Service", q.Kind,
			q.Name)
	}
	found, err := subject.Find(ctx, s.Objects, resource.Target{Kind: kind, Names: []string{q.Name}},
		subject.Request{Namespace: q.Namespace})
	if err != nil {
		return HistoryPage{}, err
	}
	page := HistoryPage{Ref: Ref{kind.Name, q.Namespace, q.Name}, Span: span, Step: int(request.Step.Seconds()),
		Times: []int64{}, Success: []*float64{}, RPS: []*float64{}, P50: []*float64{}, P95: []*float64{},
		P99: []*float64{}}
	naming, direction := found.Source, "inbound"
	if kind.Name == "service" {
		naming, direction = found.Destination, "outbound"
	}
	match := append(slices.Clone(naming.Match), metrics.Is("direction", direction))
	request.Queries = append(golden.Requests.Queries(match, naming.By),
		metrics.Query{Metric: metrics.BuildInfo, Now: true}) // whether anything was known at a time
	page.Command = request.Queries[0].PromQL(request.Window)
	answer, err := s.history(ctx, request)
	if err != nil {
		page.Missing, page.Remedy = err.Error(), historyRemedy(err)
	}
	for _, m := range answer.Moments {
		page.add(m, naming, request.Window)
	}
	page.Head = newHead(q, answer.Notes)
	return page, nil
}

func (s Sources) history(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
	if s.History == nil {
		return metrics.History{}, metrics.ErrNoHistory
	}
	return s.History(ctx, r)
}

// historyRemedy returns what helps against an error; "" if the error says it.
func historyRemedy(err error) string {
	if errors.Is(err, metrics.ErrNoHistory) {
		return "`tulle viz install | kubectl apply -f -` installs a Prometheus, and `--prometheusURL` names another one."
	}
	return ""
}

// add adds the values of one moment.
func (p *HistoryPage) add(m metrics.Moment, naming subject.Naming, window time.Duration) {
	var one Golden
	for _, stats := range golden.Requests.Read(naming.Attribute(m.Samples[0]), naming.Attribute(m.Samples[1]),
		subject.By, window) {
		one = newGolden(&stats)
	}
	var rps *float64
	if len(m.Samples[2]) > 0 || one.Success != nil {
		rps = &one.RPS
	}
	p.Times = append(p.Times, m.At.Unix())
	p.Success, p.RPS = append(p.Success, one.Success), append(p.RPS, rps)
	p.P50, p.P95, p.P99 = append(p.P50, one.P50), append(p.P95, one.P95), append(p.P99, one.P99)
}
