package web

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// maxHistories bounds the answers that KeepHistory keeps.
const maxHistories = 256

// KeepHistory returns a function that asks the same again only after the step, because there is no new moment before.
// Several goroutines may use it, but must not change what is in an answer.
func KeepHistory(ask func(context.Context, metrics.HistoryRequest) (metrics.History, error)) func(context.Context,
	metrics.HistoryRequest) (metrics.History, error) {
	type kept struct {
		mu      sync.Mutex // held while somebody asks
		history metrics.History
		at      time.Time // zero before the first answer
	}
	var mu sync.Mutex // guards the map
	all := map[string]*kept{}
	return func(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
		key, err := json.Marshal(r)
		if err != nil {
			return metrics.History{}, fmt.Errorf("encode queries: %w", err)
		}
		mu.Lock()
		found := all[string(key)]
		if found == nil {
			if len(all) >= maxHistories {
				clear(all) // who asks now still has its own
			}
			found = &kept{}
			all[string(key)] = found
		}
		mu.Unlock()
		found.mu.Lock()
		defer found.mu.Unlock()
		if !found.at.IsZero() && time.Since(found.at) < r.Step {
			return found.history, nil
		}
		history, err := ask(ctx, r)
		if err == nil {
			found.history, found.at = history, time.Now()
		}
		return history, err
	}
}
