package prometheus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// minCoverageWindow is the shortest window whose coverage can be known. Prometheus answers about a time with a sample
// of up to five minutes before it.
const minCoverageWindow = 5 * time.Minute

// scrapeInterval is how often the Prometheus of the viz extension scrapes the proxies.
const scrapeInterval = 10 * time.Second

// coverageSteps is the number of steps of a window in which coverage looks for the first sample.
const coverageSteps = 100

// coverage is the part of a window for which Prometheus has samples.
type coverage struct {
	all    bool          // the whole window
	window time.Duration // the last part of it otherwise; 0 if that is not known
	note   string        // what to tell the user if all is false
}

// coverage asks whether Prometheus had samples of any proxy when the window began. It has none if its retention is
// shorter than the window, or if it or the mesh started later.
func (s *Source) coverage(ctx context.Context, window time.Duration) coverage {
	series := metrics.Query{Metric: metrics.BuildInfo, Now: true}.Selector(s.jobs...)
	whole := model.Duration(window.Round(time.Second))
	then, _, err := s.query(ctx, fmt.Sprintf("count(%s offset %s)", series, whole))
	if err != nil {
		return s.unknownCoverage(window, err)
	}
	if len(then) > 0 {
		return coverage{all: true}
	}
	step := max(window/coverageSteps, scrapeInterval).Round(time.Second)
	age, found, err := s.oldestSample(ctx, series, window, 0, step)
	if err == nil && found && step > scrapeInterval { // the oldest sample is within the step before
		ago := max(age-step, 0)
		fine := max(step/coverageSteps, time.Second).Round(time.Second)
		age, found, err = s.oldestSample(ctx, series, age+step-ago, ago, fine)
	}
	if err != nil {
		return s.unknownCoverage(window, err)
	}
	if !found {
		return coverage{note: fmt.Sprintf("Prometheus at %s has no numbers of proxies: no job %s scrapes one", s.name,
			strings.Join(s.jobs, " or "))}
	}
	covered := min(max(age, scrapeInterval), window).Round(time.Second)
	return coverage{window: covered, note: fmt.Sprintf(
		"Prometheus at %s has numbers for only the last %v of %v: earlier requests are missing", s.name,
		model.Duration(covered), whole)}
}

// oldestSample returns the age of the oldest sample of the series, within a window that ended some time ago. It looks
// at each step, and at the present, because a Prometheus may have started within the last step.
func (s *Source) oldestSample(ctx context.Context, series string, window, ago, step time.Duration) (age time.Duration,
	found bool, err error) {
	offset := ""
	if ago = ago.Round(time.Second); ago > 0 { // PromQL takes no offset of 0s
		offset = " offset " + model.Duration(ago).String()
	}
	query := fmt.Sprintf("min(min_over_time(timestamp(%s)[%s:%s]%s)) or min(timestamp(%s))", series,
		model.Duration(window.Round(time.Second)), model.Duration(step), offset, series)
	samples, _, err := s.query(ctx, query)
	if err != nil || len(samples) == 0 {
		return 0, false, err
	}
	now := time.Duration(samples[0].Timestamp) * time.Millisecond
	return now - time.Duration(float64(samples[0].Value)*float64(time.Second)), true, nil
}

func (s *Source) unknownCoverage(window time.Duration, err error) coverage {
	return coverage{note: fmt.Sprintf("Cannot tell whether Prometheus at %s has numbers for all of the last %v: %s",
		s.name,
		model.Duration(window), metrics.Printable(err.Error(), maxText))}
}
