package golden

import (
	"cmp"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Row is the Stats of the series that share the values of some labels.
type Row struct {
	// Labels are those of one of the series.
	Labels map[string]string
	Stats  Stats
}

// Rows returns what Read returns, with the labels of each group, ordered by their Keys.
func (s Series) Rows(responses, buckets []metrics.Sample, by []string, window time.Duration) []Row {
	labels := map[string]map[string]string{}
	for _, sample := range responses {
		labels[Key(sample.Labels, by)] = sample.Labels
	}
	stats := s.Read(responses, buckets, by, window)
	rows := make([]Row, 0, len(stats))
	for key, one := range stats {
		rows = append(rows, Row{labels[key], one})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(Key(a.Labels, by), Key(b.Labels, by)) })
	return rows
}
