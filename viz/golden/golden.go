// Package golden is the golden metrics of requests: success rate, rate and latencies.
//
// It owns which queries find them, how samples become Stats, and how tables write them. It sends no query itself. The
// one idea: all commands compute the success rate in the same way.
package golden

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Stats are the golden metrics of one row.
type Stats struct {
	// Success is the share of responses that succeeded, from 0 to 1.
	Success float64
	// RPS is the rate of responses, per second.
	RPS float64
	// P50, P95 and P99 are latencies in milliseconds; NaN if none is known.
	P50, P95, P99 float64
}

// Series names the metrics of one set of requests.
type Series struct {
	// Responses is a counter of responses and Latency a histogram, without _bucket.
	Responses, Latency string
	// StatusLabels are the labels that say whether a response succeeded, and Failed decides by a sample's labels.
	StatusLabels []string
	Failed       func(labels map[string]string) bool
	// Unit is how many milliseconds one unit of Latency is.
	Unit float64
}

// Queries returns the two queries that find the golden metrics of the series that match, grouped by the labels in by.
func (s Series) Queries(match []metrics.Match, by []string) []metrics.Query {
	return []metrics.Query{
		{Metric: s.Responses, Match: match, By: slices.Concat(by, s.StatusLabels)},
		{Metric: metrics.BucketsOf(s.Latency), Match: match, By: slices.Concat(by, []string{"le"})},
	}
}

// Read returns the Stats that the answers to the two Queries hold, by the Key of their labels. A group without a
// response has none.
func (s Series) Read(responses, buckets []metrics.Sample, by []string, window time.Duration) map[string]Stats {
	type counts struct{ all, failed float64 }
	sums := map[string]counts{}
	for _, sample := range responses {
		if !(sample.Value > 0) || math.IsInf(sample.Value, 0) {
			continue
		}
		key := Key(sample.Labels, by)
		c := sums[key]
		c.all += sample.Value
		if s.Failed(sample.Labels) {
			c.failed += sample.Value
		}
		sums[key] = c
	}
	histograms := map[string][]metrics.Bucket{}
	for _, sample := range buckets {
		key := Key(sample.Labels, by)
		histograms[key] = metrics.AddBucket(histograms[key], sample)
	}
	out := map[string]Stats{}
	for key, c := range sums {
		h := histograms[key]
		out[key] = Stats{
			Success: (c.all - c.failed) / c.all,
			RPS:     c.all / window.Seconds(),
			P50:     s.Unit * metrics.Quantile(0.5, h),
			P95:     s.Unit * metrics.Quantile(0.95, h),
			P99:     s.Unit * metrics.Quantile(0.99, h),
		}
	}
	return out
}

// Key returns the values of the labels in by as one string, which differs if any value differs.
func Key(labels map[string]string, by []string) string {
	values := make([]string, len(by))
	for i, l := range by {
		values[i] = labels[l]
	}
	return KeyOf(values...)
}

// KeyOf returns the Key of the values themselves. None may contain a NUL; label values of the proxies never do.
func KeyOf(values ...string) string { return strings.Join(values, "\x00") }

// SplitKey returns the values of a Key that was made of two.
func SplitKey(key string) (first, second string) {
	first, second, _ = strings.Cut(key, "\x00")
	return first, second
}

// Headings are the columns of Cells.
var Headings = []string{"SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99"}

// Cells returns the cells of a table for Headings; nil, for a row without traffic, has a dash in each.
func (s *Stats) Cells() []string {
	if s == nil {
		return []string{"-", "-", "-", "-", "-"}
	}
	return []string{Percent(s.Success), Rate(s.RPS), latency(s.P50), latency(s.P95), latency(s.P99)}
}

// Percent returns a share from 0 to 1 as text, as in 100.00%.
func Percent(share float64) string { return fmt.Sprintf("%.2f%%", 100*share) }

// Rate returns a rate of requests as text, as in 2.0rps.
func Rate(perSecond float64) string { return fmt.Sprintf("%.1frps", perSecond) }

func latency(ms float64) string {
	if n := Milliseconds(ms); n != nil {
		return fmt.Sprintf("%dms", *n)
	}
	return "-"
}

// Latencies returns the latencies as Milliseconds does.
func (s Stats) Latencies() (p50, p95, p99 *uint64) {
	return Milliseconds(s.P50), Milliseconds(s.P95), Milliseconds(s.P99)
}

// Milliseconds returns a latency as whole milliseconds, or nil if it is not known.
func Milliseconds(ms float64) *uint64 {
	if math.IsNaN(ms) || math.IsInf(ms, 0) || ms < 0 {
		return nil
	}
	n := uint64(math.Round(ms))
	return &n
}
