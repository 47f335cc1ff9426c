package scrape

import (
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

// add adds a value to the sample of query i with the series' labels. It asks reserve before it makes a new sample, and
// returns false if that refuses.
func (s *sums) add(i int, l targetSeries, value float64, reserve func() bool) bool {
	var values strings.Builder
	for _, name := range s.queries[i].By {
		values.WriteString(l.label(name))
		values.WriteByte(separator)
	}
	sample := s.groups[i][values.String()]
	if sample == nil {
		if !reserve() {
			return false
		}
		sample = &metrics.Sample{Labels: map[string]string{}}
		for _, name := range s.queries[i].By {
			if value := l.label(name); value != "" {
				sample.Labels[name] = strings.Clone(value) // not the whole line
			}
		}
		s.groups[i][values.String()] = sample
	}
	sample.Value += value
	return true
}

// merge adds the sums of one target. It returns how many of its samples existed already.
func (s *sums) merge(of *sums) (known int) {
	for i, group := range of.groups {
		for key, sample := range group {
			if s.groups[i][key] == nil {
				s.groups[i][key] = sample
				continue
			}
			s.groups[i][key].Value += sample.Value
			known++
		}
	}
	return known
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

// targetSeries is a series of a scrape together with the labels of its target.
type targetSeries struct {
	series
	target map[string]string
}

// label returns the value of a label, or "". Where the proxy has a label of the target's name, it becomes exported_, as
// in Prometheus.
func (l targetSeries) label(name string) string {
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
