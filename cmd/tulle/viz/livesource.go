package viz

import (
	"context"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

const (
	// sourceTTL is how long a chosen source is used, because pods of metrics-api come and go.
	sourceTTL = 10 * time.Second
	// liveMaxWindow is the longest window for which the dashboard reads the proxies itself, as in metrics-api.
	liveMaxWindow = 10 * time.Minute
)

// liveSource is where the numbers of the dashboard come from. It chooses a source as the
// commands do, and chooses again after sourceTTL.
type liveSource struct {
	c  *commands
	cl *cluster.Client

	mu     sync.Mutex // guards the fields below
	chosen metrics.Source
	until  time.Time // when to choose again; zero means never
}

func (c *commands) liveSource(cl *cluster.Client) *liveSource {
	copied := *c
	copied.forDashboard = true
	return &liveSource{c: &copied, cl: cl}
}

// Ask implements metrics.Source.
func (s *liveSource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	source, err := s.choose(ctx)
	if err != nil {
		return metrics.Answer{}, err
	}
	return source.Ask(ctx, window, queries)
}

// AskHistory implements metrics.HistorySource. Its error is metrics.ErrNoHistory if the chosen source has no past.
func (s *liveSource) AskHistory(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
	source, err := s.choose(ctx)
	if err != nil {
		return metrics.History{}, err
	}
	return metrics.AskHistory(ctx, source, r)
}

func (s *liveSource) choose(ctx context.Context) (metrics.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chosen != nil && (s.until.IsZero() || time.Now().Before(s.until)) {
		return s.chosen, nil
	}
	source, err := s.c.source(ctx, s.cl)
	if err != nil || ctx.Err() != nil {
		return source, err
	}
	s.chosen = source
	if s.c.prometheus.url == "" && s.c.Source == nil {
		s.until = time.Now().Add(sourceTTL)
	}
	return source, nil
}

// notedSource adds a note to each answer: why the proxies are read.
type notedSource struct {
	reason string
	metrics.Source
}

// Ask implements metrics.Source.
func (s notedSource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	answer, err := s.Source.Ask(ctx, window, queries)
	answer.Notes = append([]string{s.reason}, answer.Notes...)
	return answer, err
}
