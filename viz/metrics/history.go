package metrics

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// HistoryPath is where metrics-api takes a HistoryRequest and returns a History.
const HistoryPath = "/api/v1/history"

// Bounds of a HistoryRequest.
const (
	// MaxHistory is how long the extension's Prometheus keeps numbers.
	MaxHistory = 6 * time.Hour
	// MinHistoryStep is how often it reads the proxies.
	MinHistoryStep    = 10 * time.Second
	MaxHistorySteps   = 240
	MaxHistoryQueries = 8
)

// HistoryRequest asks for the answers to its queries at several moments: every Step of the last Span.
type HistoryRequest struct {
	Span time.Duration `json:"span"` // in nanoseconds, as the others
	Step time.Duration `json:"step"`
	// Window is that of each increase: it ends at its moment.
	Window  time.Duration `json:"window"`
	Queries []Query       `json:"queries"`
}

// Validate returns an error about the first part of r that is not valid or beyond its bounds.
func (r HistoryRequest) Validate() error {
	switch n := len(r.Queries); {
	case n == 0 || n > MaxHistoryQueries:
		return fmt.Errorf("%d queries: want 1 to %d for a history", n, MaxHistoryQueries)
	case r.Step < MinHistoryStep:
		return fmt.Errorf("step %v of a history: want at least %v", r.Step, MinHistoryStep)
	case r.Span < r.Step || r.Span > MaxHistory || r.Span/r.Step > MaxHistorySteps:
		return fmt.Errorf("history of %v: want at least one step and at most %d of them, and at most %v", r.Span,
			MaxHistorySteps, MaxHistory)
	case r.Window < MinWindow || r.Window > MaxHistory:
		return fmt.Errorf("time window %v of a history: want %v to %v", r.Window, MinWindow, MaxHistory)
	}
	return Validate(r.Window, r.Queries)
}

// History is what the answers to a HistoryRequest were.
type History struct {
	// Moments are oldest first, a step apart.
	Moments []Moment `json:"moments"`
	// Notes are sentences for the user.
	Notes []string `json:"notes,omitempty"`
}

// Moment is the answer at one time: one slice of samples for each query, in the order of the queries.
type Moment struct {
	At      time.Time  `json:"at"`
	Samples [][]Sample `json:"samples"`
}

// HistorySource is a Source that knows the past.
type HistorySource interface {
	AskHistory(ctx context.Context, r HistoryRequest) (History, error)
}

// ErrNoHistory is wrapped by the error of AskHistory if the source does not know the past.
var ErrNoHistory = errors.New("only a Prometheus knows the past, and there is none")

// AskHistory asks the source for the past, or returns ErrNoHistory.
func AskHistory(ctx context.Context, source Source, r HistoryRequest) (History, error) {
	if err := r.Validate(); err != nil {
		return History{}, err
	}
	if s, ok := source.(HistorySource); ok {
		return s.AskHistory(ctx, r)
	}
	return History{}, ErrNoHistory
}

// AskHistory implements HistorySource. Second is not asked: a reading of the proxies has no past.
func (f Fallback) AskHistory(ctx context.Context, r HistoryRequest) (History, error) {
	return AskHistory(ctx, f.First, r)
}
