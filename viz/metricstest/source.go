// Package metricstest is for tests: a metrics.Source whose numbers are a text.
//
// It owns the reading of that text and the sums. The one idea: a test shows the series that it is about as a proxy
// would expose them.
package metricstest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Source answers queries from lines of the exposition format without types: the value of a counter is its increase in
// the window, and that of a gauge its value now.
type Source struct {
	families map[string]*dto.MetricFamily
	// Notes are those of every answer.
	Notes []string
	// Asked are the queries of the last question.
	Asked []metrics.Query

	mu sync.Mutex // guards Asked while questions run
}

// New returns a Source of the text.
func New(text string) (*Source, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	return &Source{families: families}, err
}

// Ask implements metrics.Source.
func (s *Source) Ask(_ context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	s.mu.Lock()
	s.Asked = queries
	s.mu.Unlock()
	answer := metrics.Answer{Window: window, Notes: s.Notes}
	for _, q := range queries {
		if err := q.Validate(); err != nil {
			return metrics.Answer{}, err
		}
		answer.Samples = append(answer.Samples, s.sum(q))
	}
	return answer, nil
}

func (s *Source) sum(q metrics.Query) []metrics.Sample {
	sums := map[string]metrics.Sample{}
	for _, m := range s.families[q.Metric].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if !q.Selects(func(name string) string { return labels[name] }) {
			continue
		}
		kept, key := map[string]string{}, ""
		for _, l := range q.By {
			if labels[l] != "" {
				kept[l] = labels[l]
			}
			key += labels[l] + "\x00"
		}
		sums[key] = metrics.Sample{Labels: kept, Value: sums[key].Value + m.GetUntyped().GetValue()}
	}
	var out []metrics.Sample
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, sums[key])
	}
	return out
}
