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

// histories are the answers that CacheHistory stores.
type histories struct {
	ask func(context.Context, metrics.HistoryRequest) (metrics.History, error)

	mu  sync.Mutex // guards the field below; nobody waits for an answer with it
	all map[string]*keptHistory
}

// CacheHistory returns a function that repeats a request only after the request's step, because there are no new values
// before. It drops answers that are older than the step. Errors are not stored. Several goroutines may use it, but must
// not change an answer.
func CacheHistory(ask func(context.Context, metrics.HistoryRequest) (metrics.History, error)) func(context.Context,
	metrics.HistoryRequest) (metrics.History, error) {
	return (&histories{ask: ask, all: map[string]*keptHistory{}}).get
}

// get returns the stored answer to a request, or a new one.
func (h *histories) get(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return metrics.History{}, fmt.Errorf("encode queries: %w", err)
	}
	key := string(text)
	found := h.find(key)
	found.mu.Lock()
	defer found.mu.Unlock()
	if !found.at.IsZero() && time.Since(found.at) < r.Step {
		return found.history, nil
	}
	history, err := h.ask(ctx, r)
	if err != nil {
		return history, err
	}
	shareLabels(history)
	found.history, found.at = history, time.Now()
	time.AfterFunc(r.Step, func() { h.drop(key, found, r.Step) })
	return history, nil
}

// find returns the entry of a key, which is new or stored.
func (h *histories) find(key string) *keptHistory {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.all[key]
	if found == nil {
		if len(h.all) >= maxCachedHistories {
			clear(h.all) // a caller that is asking still has its entry
		}
		found = &keptHistory{}
		h.all[key] = found
	}
	return found
}

// drop removes an answer that is older than the step. It waits for a request that runs before it takes h.mu, so that
// requests with other keys go on.
func (h *histories) drop(key string, found *keptHistory, step time.Duration) {
	found.mu.Lock()
	defer found.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all[key] == found && time.Since(found.at) >= step {
		delete(h.all, key)
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
