package metrics

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestHistoryRequestBounds(t *testing.T) {
	good := func() HistoryRequest {
		return HistoryRequest{Span: time.Hour, Step: time.Minute, Window: time.Minute,
			Queries: []Query{{Metric: RequestTotal}}}
	}
	if err := good().Validate(); err != nil {
		t.Errorf("a good request: %v", err)
	}
	for name, change := range map[string]func(*HistoryRequest){
		"no queries":          func(r *HistoryRequest) { r.Queries = nil },
		"too many queries":    func(r *HistoryRequest) { r.Queries = slices.Repeat(r.Queries, MaxHistoryQueries+1) },
		"a short step":        func(r *HistoryRequest) { r.Step = time.Second },
		"too many steps":      func(r *HistoryRequest) { r.Step, r.Span = MinHistoryStep, MaxHistory },
		"a long span":         func(r *HistoryRequest) { r.Step, r.Span = time.Hour, MaxHistory+time.Hour },
		"no step in the span": func(r *HistoryRequest) { r.Span = time.Second },
		"a short window":      func(r *HistoryRequest) { r.Window = time.Second },
		"a long window":       func(r *HistoryRequest) { r.Window = MaxHistory + time.Second },
		"no name of a metric": func(r *HistoryRequest) { r.Queries[0].Metric = "a}" },
	} {
		r := good()
		if change(&r); r.Validate() == nil {
			t.Errorf("%s is accepted: %+v", name, r)
		}
	}
}

type noSource struct{}

// Ask implements Source.
func (noSource) Ask(context.Context, time.Duration, []Query) (Answer, error) { return Answer{}, nil }

func TestOnlyAHistorySourceHasAPast(t *testing.T) {
	r := HistoryRequest{Span: time.Hour, Step: time.Minute, Window: time.Minute, Queries: []Query{{Metric: RequestTotal}}}
	for name, source := range map[string]Source{"proxies": noSource{},
		"a fallback to them": Fallback{noSource{}, noSource{}}} {
		if _, err := AskHistory(t.Context(), source, r); !errors.Is(err, ErrNoHistory) {
			t.Errorf("%s: error %v; want %v", name, err, ErrNoHistory)
		}
	}
}
