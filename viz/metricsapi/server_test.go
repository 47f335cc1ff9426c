package metricsapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// TestMain fails if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask is a Source.
type ask func(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error)

func (a ask) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	return a(ctx, window, queries)
}

func server(source metrics.Source) (*Server, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	return New(Config{Source: source, Log: zap.NewNop(), Registry: registry}), registry
}

func post(body string) *http.Request { return postTo(metrics.QueryPath, body) }

func postTo(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Host = "metrics-api.tulle-viz.svc:8085"
	r.Header.Set("Content-Type", "application/json")
	return r
}

// to returns a request with another Host.
func to(host string, r *http.Request) *http.Request {
	r.Host = host
	return r
}

const good = `{"window":60000000000,"queries":[{"metric":"response_total","by":["pod"],"match":[{"label":"pod","op":"=","value":"a"}]}]}`

func TestAnswer(t *testing.T) {
	s, registry := server(ask(func(_ context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer,
		error) {
		want := []metrics.Query{{Metric: "response_total", By: []string{"pod"},
			Match: []metrics.Match{metrics.Is("pod", "a")}}}
		if diff := cmp.Diff(want, queries); diff != "" || window != time.Minute {
			t.Errorf("asked for %v (-want +got):\n%s", window, diff)
		}
		return metrics.Answer{Window: window, Notes: []string{"n"},
			Samples: [][]metrics.Sample{{{Labels: map[string]string{"pod": "a"}, Value: 1.5}}}}, nil
	}))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, post(good))
	want := `{"samples":[[{"labels":{"pod":"a"},"value":1.5}]],"window":60000000000,"notes":["n"]}` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
	if got := counted(t, registry, "ok"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// counted returns how many requests had a result.
func counted(t *testing.T, registry *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestRefusals(t *testing.T) {
	never := ask(func(context.Context, time.Duration, []metrics.Query) (metrics.Answer, error) {
		t.Error("the source was asked")
		return metrics.Answer{}, nil
	})
	query := func(text string) string { return `{"window":60000000000,"queries":[` + text + `]}` }
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }
	form := post(good)
	form.Header.Set("Content-Type", "text/plain")
	for name, c := range map[string]struct {
		request *http.Request
		status  int
		err     string
	}{
		"a page of another name": {to("metrics-api.evil.example:8085", post(good)), 421,
			`host "metrics-api.evil.example:8085": want metrics-api, localhost or an address`},
		"another metric": {post(query(`{"metric":"container_memory_usage_bytes","now":true}`)), 400,
			`query 1: metric "container_memory_usage_bytes": tulle viz asks for no such metric`},
		"another path": {to("[::1]:8085", httptest.NewRequest(http.MethodPost, "/api/v2%1b", nil)), 404,
			`path "/api/v2` + "\uFFFD" + `": want /api/v1/query or /api/v1/history`},
		"a history of another metric": {postTo(metrics.HistoryPath, `{"span":3600000000000,"step":60000000000,`+
			`"window":60000000000,"queries":[{"metric":"up"}]}`), 400,
			`query 1: metric "up": tulle viz asks for no such metric`},
		"a long history": {postTo(metrics.HistoryPath, `{"span":36000000000000,"step":60000000000,`+
			`"window":60000000000,"queries":[{"metric":"response_total"}]}`), 400,
			"history of 10h0m0s: want at least one step and at most 240 of them, and at most 6h0m0s"},
		"another method": {to("localhost", httptest.NewRequest(http.MethodGet, metrics.QueryPath, nil)), 405,
			`method "GET": want POST`},
		"what a page may send across origins": {form, 415, "content type: want application/json"},
		"not JSON": {post("a"), 400,
			"decode body: invalid character 'a' looking for beginning of value"},
		"an empty body":    {post(""), 400, "decode body: EOF"},
		"an unknown field": {post(`{"promql":"up"}`), 400, `decode body: json: unknown field "promql"`},
		"two values":       {post(good + "{}"), 400, "decode body: more than one JSON value"},
		"a large body": {post(`{"window":` + strings.Repeat(" ", MaxBody) + `1}`), 413,
			"body: more than 1048576 bytes"},
		"no queries":   {post(query("")), 400, "0 queries: want 1 to 128"},
		"many queries": {post(query(many(129, `{"metric":"response_total"}`))), 400, "129 queries: want 1 to 128"},
		"many labels": {post(query(`{"metric":"response_total","by":[` + many(33, `"a"`) + `]}`)), 400,
			"query 1: want at most 32 labels in by and in match"},
		"a short window": {post(`{"window":1000,"queries":[{"metric":"response_total"}]}`), 400,
			"time window 1µs: want at least 15s"},
		"a metric that is not a name": {post(query(`{"metric":"response_total"},{"metric":"up{} or"}`)), 400,
			`query 2: metric "up{} or": tulle viz asks for no such metric`},
		"a comparison by pattern": {post(query(`{"metric":"response_total","match":[{"label":"a","op":"=~","value":".*"}]}`)),
			400,
			`query 1: comparison "=~" of label "a": want = or !=`},
	} {
		t.Run(name, func(t *testing.T) {
			s, registry := server(never)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, c.request)
			if got, want := w.Body.String(), fmt.Sprintf("{\"error\":%s}\n", quoted(c.err)); w.Code != c.status || got != want {
				t.Errorf("got  %d %swant %d %s", w.Code, got, c.status, want)
			}
			if got := counted(t, registry, "invalid"); got != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}

// quoted is a text as encoding/json writes it.
// TestABodyThatNeverComesKeepsNoConnection: a refusal that needs no body does not wait for it.
func TestABodyThatNeverComesKeepsNoConnection(t *testing.T) {
	s, _ := server(nil)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, lis) }()
	defer func() { cancel(); <-done }()
	for head, want := range map[string]int{
		"POST / HTTP/1.1\r\nHost: evil.example":                      421,
		"POST / HTTP/1.1\r\nHost: localhost":                         404,
		"PUT " + metrics.QueryPath + " HTTP/1.1\r\nHost: localhost":  405,
		"POST " + metrics.QueryPath + " HTTP/1.1\r\nHost: localhost": 415,
	} {
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, head+"\r\nContent-Length: 1000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		res, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if _, err := reader.ReadByte(); res.StatusCode != want || !res.Close || err != io.EOF {
			t.Errorf("%q: got %d, close %t, then %v; want %d and an end", head, res.StatusCode, res.Close, err, want)
		}
	}
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func TestAFailureIsTheSources(t *testing.T) {
	s, registry := server(ask(func(context.Context, time.Duration, []metrics.Query) (metrics.Answer, error) {
		return metrics.Answer{}, errors.New("list the pods to read: forbidden")
	}))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, post(good))
	if w.Code != http.StatusBadGateway || w.Body.String() != `{"error":"list the pods to read: forbidden"}`+"\n" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if got := counted(t, registry, "failed"); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// TestRunningRequestsAreBounded fills the server with requests that do not end until their clients go.
func TestRunningRequestsAreBounded(t *testing.T) {
	entered := make(chan struct{})
	s, registry := server(ask(func(ctx context.Context, _ time.Duration, _ []metrics.Query) (metrics.Answer, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return metrics.Answer{}, ctx.Err()
	}))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, lis) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request := func(ctx context.Context) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+lis.Addr().String()+metrics.QueryPath, strings.NewReader(good))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/json")
		return client.Do(r)
	}
	callers, leave := context.WithCancel(t.Context())
	gone := make(chan error, maxRunning)
	for range maxRunning {
		go func() {
			resp, err := request(callers)
			if err == nil {
				err = resp.Body.Close()
			}
			gone <- err
		}()
		<-entered
	}
	resp, err := request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "32 requests are running") {
		t.Errorf("got %s: %s", resp.Status, text)
	}
	leave()
	for range maxRunning {
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that left: %v", err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if got := counted(t, registry, "canceled"); got != maxRunning {
		t.Errorf("counted %v canceled requests, want %d", got, maxRunning)
	}
}

// historian is a Source that knows the past.
type historian struct{ ask }

// AskHistory implements metrics.HistorySource.
func (historian) AskHistory(_ context.Context, r metrics.HistoryRequest) (metrics.History, error) {
	return metrics.History{Moments: []metrics.Moment{{At: time.Unix(60, 0).UTC(),
		Samples: [][]metrics.Sample{{{Value: r.Span.Minutes()}}}}}}, nil
}

func TestHistory(t *testing.T) {
	const body = `{"span":600000000000,"step":60000000000,"window":60000000000,"queries":[{"metric":"response_total"}]}`
	for name, c := range map[string]struct {
		source metrics.Source
		status int
		body   string
	}{
		"with a Prometheus": {historian{}, 200, `{"moments":[{"at":"1970-01-01T00:01:00Z","samples":[[{"value":10}]]}]}`},
		"without one":       {ask(nil), 501, `{"error":"only a Prometheus knows the past, and there is none"}`},
	} {
		s, _ := server(c.source)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, postTo(metrics.HistoryPath, body))
		if w.Code != c.status || w.Body.String() != c.body+"\n" {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}
