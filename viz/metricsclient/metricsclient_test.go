package metricsclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsapi"
)

var queries = []metrics.Query{{Metric: "response_total", By: []string{"pod"},
	Match: []metrics.Match{metrics.Is("authority", "a\"\n\u00e9"), metrics.Not("tls", "true")}},
	{Metric: "tcp_open_total", Now: true}}

// dial connects whatever name the source asks for.
func dial(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a reason": {502, `{"error":"list the pods to read: \u001b[2J forbidden"}`,
			"ask metrics-api: list the pods to read: \uFFFD[2J forbidden"},
		"something else": {404, "<html>\nno", "ask metrics-api: 404 Not Found: <html> no"},
		"not JSON": {200, "<html>",
			"ask metrics-api: decode answer: invalid character '<' looking for beginning of value"},
		"fewer answers": {200, `{"samples":[[]]}`,
			"ask metrics-api: 1 answers to 2 queries: is it metrics-api that answers?"},
		"an answer of nobody": {200, `{}`, "ask metrics-api: 0 answers to 2 queries: is it metrics-api that answers?"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			_, err := New(Config{Dial: dial(server.Listener.Addr().String())}).Ask(t.Context(), time.Minute, queries)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := New(Config{URL: server.URL}).Ask(ctx, time.Minute, queries)
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "see its log") {
		t.Errorf("got %v, want the context's error", err)
	}
}

// reading is a Source that waits, as one does that reads the proxies.
type reading struct{ asked chan []metrics.Query }

func (r reading) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	metrics.Progress(ctx, 42*time.Second)
	metrics.Progress(ctx, 41*time.Second)
	metrics.Progress(ctx, 0)
	r.asked <- queries
	return metrics.Answer{Window: window, Notes: []string{"read"}, Samples: [][]metrics.Sample{{}, {{Value: 2}}}}, nil
}

// TestAskMetricsAPI asks the real server. It must get the same queries, and the wait must arrive before the answer.
func TestAskMetricsAPI(t *testing.T) {
	source := reading{make(chan []metrics.Query, 1)}
	server := httptest.NewServer(metricsapi.New(metricsapi.Config{Source: source, Log: zap.NewNop(),
		Registry: prometheus.NewRegistry()}))
	defer server.Close()
	waits := make(chan time.Duration, 10)
	ctx := metrics.WithProgress(t.Context(), func(left time.Duration) { waits <- left })
	answer, err := New(Config{URL: server.URL}).Ask(ctx, time.Minute, queries)
	if err != nil {
		t.Fatal(err)
	}
	want := metrics.Answer{Window: time.Minute, Notes: []string{"read"},
		Samples: [][]metrics.Sample{{}, {{Value: 2}}}}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(queries, <-source.asked); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	if len(waits) != 1 || <-waits != 42*time.Second {
		t.Error("want one wait, of 42s")
	}
}

func TestHistoryErrors(t *testing.T) {
	r := metrics.HistoryRequest{Span: time.Hour, Step: time.Minute, Window: time.Minute, Queries: queries}
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"no Prometheus": {501, `{"error":"x"}`, "ask metrics-api: only a Prometheus knows the past, and there is none"},
		"an old server": {404, `{"error":"x"}`, "ask metrics-api: it is too old to answer for the past; " +
			"`tulle viz install | kubectl apply -f -` updates it"},
		"fewer answers": {200, `{"moments":[{"samples":[[]]}]}`,
			"ask metrics-api: 1 answers to 2 queries: is it metrics-api that answers?"},
		"a history": {200, `{"moments":[{"samples":[[],[]]}],"notes":["a"]}`, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		history, err := New(Config{Dial: dial(server.Listener.Addr().String())}).AskHistory(t.Context(), r)
		server.Close()
		if c.want == "" && (err != nil || len(history.Moments) != 1) ||
			c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: got %v, %v; want %s", name, history, err, c.want)
		}
		if errors.Is(err, metrics.ErrNoHistory) != (c.status == 501) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
