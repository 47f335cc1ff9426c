package scrape

import (
	"math"
	"slices"
	"strings"
	"time"

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
	s.each(t, got, func(i int, l labelled, value float64) {
		if s.queries[i].Now {
			s.add(i, l, value)
		}
	})
}

// keepFirst keeps the values of the first scrape that an increase needs.
func (s *sums) keepFirst(t *target, got scraped) {
	t.at, t.first = got.at, map[key]float64{}
	s.each(t, got, func(i int, l labelled, value float64) {
		if !s.queries[i].Now {
			t.first[key{s.queries[i].Metric, l.text}] = value
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
	s.each(t, got, func(i int, l labelled, value float64) {
		if s.queries[i].Now {
			s.add(i, l, value)
			return
		}
		if before := t.first[key{s.queries[i].Metric, l.text}]; before <= value {
			value -= before
		}
		s.add(i, l, value*factor)
	})
}

// each calls use for each series and each query that selects it.
func (s *sums) each(t *target, got scraped, use func(query int, l labelled, value float64)) {
	for i, q := range s.queries {
		if !mayMatch(q, t.labels) {
			continue
		}
		for _, one := range got.series[q.Metric] {
			if math.IsNaN(one.value) || math.IsInf(one.value, 0) {
				continue
			}
			labelled := labelled{series: one, target: t.labels}
			if q.Selects(labelled.label) {
				use(i, labelled, one.value)
			}
		}
	}
}

func (s *sums) add(i int, l labelled, value float64) {
	var values strings.Builder
	for _, name := range s.queries[i].By {
		values.WriteString(l.label(name))
		values.WriteByte(separator)
	}
	sample := s.groups[i][values.String()]
	if sample == nil {
		sample = &metrics.Sample{Labels: map[string]string{}}
		for _, name := range s.queries[i].By {
			if value := l.label(name); value != "" {
				sample.Labels[name] = strings.Clone(value) // not the whole line
			}
		}
		s.groups[i][values.String()] = sample
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

// key is a series within a target.
type key struct{ metric, labels string }

// separator ends values in keys: it is not in any UTF-8 text.
const separator = 0xff

// labelled is one series with the labels of its target.
type labelled struct {
	series
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
	for _, own := range l.labels {
		if own.name == name {
			return own.value
		}
	}
	return ""
}
