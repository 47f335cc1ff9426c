package prometheus

import (
	"context"
	"fmt"
	"math"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// AskHistory implements metrics.HistorySource. The moments are multiples of the step, so that they stay where they are
// when somebody asks again. The time limit is for all queries together.
func (s *Source) AskHistory(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
	if err := r.Validate(); err != nil {
		return metrics.History{}, err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	end := time.Now().Truncate(r.Step)
	span := promv1.Range{Start: end.Add(-r.Span).Truncate(r.Step), End: end, Step: r.Step}
	history := metrics.History{Moments: make([]metrics.Moment, int(span.End.Sub(span.Start)/r.Step)+1)}
	for i := range history.Moments {
		history.Moments[i] = metrics.Moment{At: span.Start.Add(time.Duration(i) * r.Step).UTC(),
			Samples: make([][]metrics.Sample, len(r.Queries))}
	}
	group, groupCtx := errgroup.WithContext(limited)
	answers := make([]model.Matrix, len(r.Queries))
	for i, q := range r.Queries {
		group.Go(func() (err error) {
			answers[i], err = s.queryRange(groupCtx, q.PromQL(r.Window, s.jobs...), span)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return metrics.History{}, fmt.Errorf("ask Prometheus at %s: %w", s.name, ctx.Err())
		}
		return metrics.History{}, s.explain(err, limited.Err() != nil)
	}
	for i, matrix := range answers {
		for _, series := range matrix {
			own := labels(series.Metric, r.Queries[i].By)
			for _, v := range series.Values {
				at := int(v.Timestamp.Time().Sub(span.Start) / r.Step)
				if n := float64(v.Value); at >= 0 && at < len(history.Moments) && !math.IsNaN(n) && !math.IsInf(n, 0) {
					samples := history.Moments[at].Samples
					samples[i] = append(samples[i], metrics.Sample{Labels: own, Value: n})
				}
			}
		}
	}
	return history, nil
}

// queryRange runs one query of PromQL at the steps of a span. It waits while maxRunning others run.
func (s *Source) queryRange(ctx context.Context, promQL string, span promv1.Range) (model.Matrix, error) {
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	value, _, _, err := s.api.QueryRange(ctx, promQL, span, promv1.WithTimeout(s.timeout))
	if err != nil {
		return nil, err
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, &promv1.Error{Type: promv1.ErrBadResponse, Msg: fmt.Sprintf("a %T instead of a matrix", value)}
	}
	return matrix, nil
}
