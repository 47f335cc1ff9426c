package scrape

import (
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// sums adds up the answers of all queries.
type sums struct {
	window  time.Duration
	queries []metrics.Query
	groups  []map[string]*metrics.Sample // of each query, by the values of its labels
}

func newSums(queries []metrics.Query, window time.Duration) *sums {
	s := &sums{window: window, queries: queries, groups: make([]map[string]*metrics.Sample, len(queries))}
	for i := range queries {
		s.groups[i] = map[string]*metrics.Sample{}
	}
	return s
}

// addNow adds the values of a scrape to the queries that ask for values now.
func (s *sums) addNow(t *target, got scraped) {
	s.each(t, got, func(i int, series labelled, value float64) {
		if s.queries[i].Now {
			s.add(i, series, value)
		}
	})
}

// keepFirst keeps the values of the first scrape that an increase needs.
func (s *sums) keepFirst(t *target, got scraped) {
	t.at, t.first = got.at, map[string]float64{}
	s.each(t, got, func(i int, series labelled, value float64) {
		if !s.queries[i].Now {
			t.first[series.key()] = value
		}
	})
}

// addSecond adds what the series of a target increased by since its first scrape. A series that is new counts from 0,
// as does one that is less than before: its process began again. As Prometheus does, it extrapolates to the whole
// window, because the time between two scrapes is never exactly the window.
func (s *sums) addSecond(t *target, got scraped) {
	factor := 1.0
	if between := got.at.Sub(t.at); !t.late && between > 0 {
		factor = float64(s.window) / float64(between)
	}
	s.each(t, got, func(i int, series labelled, value float64) {
		if s.queries[i].Now {
			s.add(i, series, value)
			return
		}
		if before := t.first[series.key()]; before <= value {
			value -= before
		}
		s.add(i, series, value*factor)
	})
}

// each calls use for each series and each query that selects it.
func (s *sums) each(t *target, got scraped, use func(query int, series labelled, value float64)) {
	for i, q := range s.queries {
		if !mayMatch(q, t.labels) {
			continue
		}
		for _, m := range got.families[q.Metric].GetMetric() {
			value := m.GetUntyped().GetValue()
			if math.IsNaN(value) || math.IsInf(value, 0) {
				continue
			}
			series := labelled{metric: q.Metric, own: m.GetLabel(), target: t.labels}
			if q.Selects(series.label) {
				use(i, series, value)
			}
		}
	}
}

func (s *sums) add(i int, series labelled, value float64) {
	var key strings.Builder
	for _, name := range s.queries[i].By {
		key.WriteString(series.label(name))
		key.WriteByte(separator)
	}
	sample := s.groups[i][key.String()]
	if sample == nil {
		sample = &metrics.Sample{Labels: map[string]string{}}
		for _, name := range s.queries[i].By {
			if value := series.label(name); value != "" {
				sample.Labels[name] = value
			}
		}
		s.groups[i][key.String()] = sample
	}
	sample.Value += value
}

// samples returns the sums of each query, in the order of their labels' values.
func (s *sums) samples() [][]metrics.Sample {
	out := make([][]metrics.Sample, len(s.groups))
	for i, group := range s.groups {
		keys := make([]string, 0, len(group))
		for key := range group {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		out[i] = make([]metrics.Sample, 0, len(keys))
		for _, key := range keys {
			out[i] = append(out[i], *group[key])
		}
	}
	return out
}

// separator ends values in keys: it is not in any UTF-8 text.
const separator = 0xff

// labelled is one series with the labels of its target.
type labelled struct {
	metric string
	own    []*dto.LabelPair
	target map[string]string
}

// label returns the value of a label, or "". Where the proxy has a label of the target's name, it becomes exported_, as
// in Prometheus.
func (l labelled) label(name string) string {
	if value, ok := l.target[name]; ok {
		return value
	}
	if hidden, ok := strings.CutPrefix(name, "exported_"); ok && l.target[hidden] != "" {
		name = hidden
	}
	for _, pair := range l.own {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// key returns a text that no other series of the target has.
func (l labelled) key() string {
	slices.SortFunc(l.own, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	var b strings.Builder
	b.WriteString(l.metric)
	for _, pair := range l.own {
		b.WriteByte(separator)
		b.WriteString(pair.GetName())
		b.WriteByte(separator)
		b.WriteString(pair.GetValue())
	}
	return b.String()
}
