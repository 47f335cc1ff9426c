package board

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// pastOf answers with three moments: one without any numbers, one without requests, and one like now.
func pastOf(source metrics.Source) func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
	return func(ctx context.Context, r metrics.HistoryRequest) (metrics.History, error) {
		if err := r.Validate(); err != nil {
			return metrics.History{}, err
		}
		answer, err := source.Ask(ctx, r.Window, r.Queries)
		known := []metrics.Sample{{Value: 1}}
		answer.Samples[2] = known
		moment := func(i int64, samples [][]metrics.Sample) metrics.Moment {
			return metrics.Moment{At: time.Unix(60*i, 0), Samples: samples}
		}
		return metrics.History{Moments: []metrics.Moment{moment(0, make([][]metrics.Sample, 3)),
			moment(1, [][]metrics.Sample{nil, nil, known}), moment(2, answer.Samples)}}, err
	}
}

func historyQuery(kind, name, span string) Query {
	return Query{Namespace: "shop", Kind: kind, Name: name, Window: time.Minute, Params: url.Values{"span": {span}}}
}

func TestHistoryEqualsThePages(t *testing.T) {
	s := serviceSources(t, graphShop())
	s.History = pastOf(s.Numbers)
	for name, tt := range map[string]struct {
		q    Query
		want Golden
	}{
		"a workload": {historyQuery("deploy", "api", "1h"), workloadPageOf(t, s, "api").Golden},
		"a Service":  {historyQuery("svc", "api", "10m"), serviceOf(t, s, "api").Golden},
	} {
		page, err := History(t.Context(), s, tt.q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Times) != 3 || page.RPS[0] != nil || page.Success[1] != nil || page.RPS[1] == nil || *page.RPS[1] != 0 {
			t.Errorf("%s: %d times, rates %v, success %v", name, len(page.Times), page.RPS, page.Success)
			continue
		}
		got := Golden{Success: page.Success[2], RPS: *page.RPS[2], P50: page.P50[2], P95: page.P95[2], P99: page.P99[2]}
		if diff := cmp.Diff(tt.want, got); diff != "" || got.Success == nil {
			t.Errorf("%s (-page +history):\n%s", name, diff)
		}
	}
}

func TestHistoryWithoutAPrometheusSaysWhatHelps(t *testing.T) {
	s := serviceSources(t, graphShop())
	page, err := History(t.Context(), s, historyQuery("deploy", "api", ""))
	if err != nil || page.Missing == "" || page.Remedy == "" || len(page.Times) != 0 || page.Span != "1h" {
		t.Errorf("page %+v, %v", page, err)
	}
	s.History = func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
		return metrics.History{}, metrics.ErrNoHistory
	}
	page, err = History(t.Context(), s, historyQuery("deploy", "api", "1h"))
	if err != nil || page.Missing != metrics.ErrNoHistory.Error() || page.Remedy == "" {
		t.Errorf("page %+v, %v", page, err)
	}
	s.History = func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
		return metrics.History{}, errors.New("Prometheus is overloaded")
	}
	page, err = History(t.Context(), s, historyQuery("deploy", "api", "6h"))
	if err != nil || page.Missing != "Prometheus is overloaded" || page.Remedy != "" {
		t.Errorf("page %+v, %v", page, err)
	}
}

func TestHistoryRefuses(t *testing.T) {
	for _, q := range []Query{historyQuery("deploy", "api", "24h"), historyQuery("ns", "shop", "1h"),
		historyQuery("server", "http", "1h"), historyQuery("deploy", "", "1h")} {
		if _, err := History(t.Context(), serviceSources(t, graphShop()), q); err == nil || Refuse(err).Code != BadRequest {
			t.Errorf("%v: error %v", q, err)
		}
	}
	_, err := History(t.Context(), serviceSources(t, graphShop()), historyQuery("deploy", "apy", "1h"))
	if err == nil || Refuse(err).Code != NotFound {
		t.Errorf("a name that is not there: %v", err)
	}
}
