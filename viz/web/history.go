package web

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// maxCachedHistories bounds the answers that CacheHistory stores.
const maxCachedHistories = 256

// keptHistory is the answer to one request.
type keptHistory struct {
	mu      sync.Mutex // held during a request
	history metrics.History
	at      time.Time // zero before the first answer
}

// CacheHistory returns a function that repeats a request only after the request's step, because there are no new values
// before. It drops answers that are older than the step. Errors are not stored. Several goroutines may use it, but must
// not change an answer.
func CacheHistory(ask func(context.Context, metrics.HistoryRequest) (metrics.History, error)) func(context.Context,
	metrics.HistoryRequest) (metrics.History, error) {
	var mu sync.Mutex // guards the map
	all := map[string]*keptHistory{}
	return func(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
		text, err := json.Marshal(r)
		if err != nil {
			return metrics.History{}, fmt.Errorf("encode queries: %w", err)
		}
		key := string(text)
		mu.Lock()
		found := all[key]
		if found == nil {
			if len(all) >= maxCachedHistories {
				clear(all) // a caller that is asking still has its entry
			}
			found = &keptHistory{}
			all[key] = found
		}
		mu.Unlock()
		found.mu.Lock()
		defer found.mu.Unlock()
		if !found.at.IsZero() && time.Since(found.at) < r.Step {
			return found.history, nil
		}
		history, err := ask(ctx, r)
		if err != nil {
			return history, err
		}
		shareLabels(history)
		found.history, found.at = history, time.Now()
		time.AfterFunc(r.Step, func() {
			mu.Lock()
			defer mu.Unlock()
			found.mu.Lock()
			defer found.mu.Unlock()
			if all[key] == found && time.Since(found.at) >= r.Step {
				delete(all, key)
			}
		})
		return history, nil
	}
}

// shareLabels gives samples with the same labels the same map, to save memory: the moments of a history have the same
// series, and the labels are most of a sample.
func shareLabels(h metrics.History) {
	known := map[string]map[string]string{}
	for _, m := range h.Moments {
		for _, samples := range m.Samples {
			for i, s := range samples {
				key := fmt.Sprint(s.Labels) // in the order of the names
				if known[key] == nil {
					known[key] = s.Labels
				}
				samples[i].Labels = known[key]
			}
		}
	}
}
