package metrics

import (
	"context"
	"fmt"
	"time"
)

// Fallback is a Source that asks First, and Second if First returns an error. A note then has the error of First.
type Fallback struct{ First, Second Source }

// Ask implements Source.
func (f Fallback) Ask(ctx context.Context, window time.Duration, queries []Query) (Answer, error) {
	answer, first := f.First.Ask(ctx, window, queries)
	if first == nil || ctx.Err() != nil {
		return answer, first
	}
	answer, err := f.Second.Ask(ctx, window, queries)
	if err != nil {
		return Answer{}, fmt.Errorf("%w; %w", first, err)
	}
	answer.Notes = append([]string{first.Error()}, answer.Notes...)
	return answer, nil
}
