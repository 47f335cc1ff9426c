package prometheus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// minReach is the shortest window for which reach can tell: Prometheus takes a sample of up to five minutes before a
// time as the one of that time.
const minReach = 5 * time.Minute

// minStep is how often a Prometheus reads the proxies by default.
const minStep = 10 * time.Second

// reachSteps divides a window into the steps in which reach looks for the first sample.
const reachSteps = 100

// reach says how much of a window Prometheus has samples of: all, or the last part of it, window. If that is not known,
// window is 0. note is a sentence for the user.
type reach struct {
	all    bool
	window time.Duration
	note   string
}

// reach asks whether Prometheus had numbers of any proxy when the window began. It had none if it keeps numbers for a
// shorter time, or if it, or the mesh, began later.
func (s *Source) reach(ctx context.Context, window time.Duration) reach {
	series := metrics.Query{Metric: metrics.BuildInfo, Now: true}.Selector(s.jobs...)
	whole := model.Duration(window.Round(time.Second))
	then, _, err := s.vector(ctx, fmt.Sprintf("count(%s offset %s)", series, whole))
	if err != nil {
		return s.unknown(window, err)
	}
	if len(then) > 0 {
		return reach{all: true}
	}
	step := max(window/reachSteps, minStep).Round(time.Second)
	has, found, err := s.oldest(ctx, series, window, 0, step)
	if err == nil && found && step > minStep { // the oldest sample is within the step before
		from := max(has-step, 0)
		has, found, err = s.oldest(ctx, series, has+step-from, from, max(step/reachSteps, time.Second).Round(time.Second))
	}
	if err != nil {
		return s.unknown(window, err)
	}
	if !found {
		return reach{note: fmt.Sprintf("Prometheus at %s has no numbers of proxies: no job %s reads one", s.name,
			strings.Join(s.jobs, " or "))}
	}
	has = min(max(has, minStep), window).Round(time.Second)
	return reach{window: has, note: fmt.Sprintf(
		"Prometheus at %s has numbers of the last %v only, not of %v: what was before is missing", s.name,
		model.Duration(has), whole)}
}

// oldest returns the age of the oldest sample of the series within the window that ends some time ago. It looks at
// steps, and at the time now, because a Prometheus may have begun within the last step.
func (s *Source) oldest(ctx context.Context, series string, window, ago, step time.Duration) (age time.Duration,
	found bool, err error) {
	offset := ""
	if ago = ago.Round(time.Second); ago > 0 { // PromQL takes no offset of 0s
		offset = " offset " + model.Duration(ago).String()
	}
	query := fmt.Sprintf("min(min_over_time(timestamp(%s)[%s:%s]%s)) or min(timestamp(%s))", series,
		model.Duration(window.Round(time.Second)), model.Duration(step), offset, series)
	samples, _, err := s.vector(ctx, query)
	if err != nil || len(samples) == 0 {
		return 0, false, err
	}
	now := time.Duration(samples[0].Timestamp) * time.Millisecond
	return now - time.Duration(float64(samples[0].Value)*float64(time.Second)), true, nil
}

func (s *Source) unknown(window time.Duration, err error) reach {
	return reach{note: fmt.Sprintf("It is not known whether Prometheus at %s has numbers of all of %v: %s", s.name,
		model.Duration(window), metrics.Printable(err.Error(), maxText))}
}
