package prometheus

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

const vector = `{"status":"success","data":{"resultType":"vector","result":[
	{"metric":{"deployment":"web","le":"+Inf"},"value":[1,"12.5"]},
	{"metric":{"deployment":""},"value":[1,"3"]},
	{"metric":{"deployment":"idle"},"value":[1,"NaN"]}]},"warnings":["a\u001bb"]}`

var query = metrics.Query{Metric: "request_total", By: []string{"deployment"},
	Match: []metrics.Match{metrics.Is("direction", "inbound")}}

func source(t *testing.T, c Config) *Source {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func TestAsk(t *testing.T) {
	asked := make(chan string, 2)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.FormValue("query") + " time=" + r.FormValue("time")
		_, _ = io.WriteString(w, vector)
	})
	answer, err := source(t, Config{URL: url + "/prefix/"}).Ask(t.Context(), time.Minute, []metrics.Query{query})
	if err != nil {
		t.Fatal(err)
	}
	const want = `/prefix/api/v1/query sum by (deployment) (increase(request_total{job="linkerd-proxy",direction="inbound"}[1m])) time=`
	if got := <-asked; got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	wanted := metrics.Answer{Window: time.Minute, Notes: []string{"Prometheus warns: a\uFFFDb"},
		Samples: [][]metrics.Sample{{
			{Labels: map[string]string{"deployment": "web"}, Value: 12.5}, {Labels: map[string]string{}, Value: 3}}}}
	if diff := cmp.Diff(wanted, answer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOnlyProxiesCount answers with series that an application wrote, unless the query names the job of the proxies.
func TestOnlyProxiesCount(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.FormValue("query"), `job=~"mesh|mesh-of-tests"`) {
			_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			return
		}
		_, _ = io.WriteString(w, vector)
	})
	answer, err := source(t, Config{URL: url, Jobs: []string{"mesh", "mesh-of-tests"}}).Ask(t.Context(), time.Minute,
		[]metrics.Query{query})
	if err != nil || len(answer.Samples[0]) != 0 {
		t.Errorf("got %v, %v; want no samples", answer.Samples, err)
	}
}

func TestSaysThatAWindowMayBeTooShort(t *testing.T) {
	const nothing = `{"status":"success","data":{"resultType":"vector","result":[]}}`
	const warning = "Prometheus warns: a\uFFFDb"
	const note = "Prometheus has no increase in the last 20s: the time window may be too short, try 1m"
	now := metrics.Query{Metric: "tcp_open_connections", Now: true}
	for name, c := range map[string]struct {
		result  string
		window  time.Duration
		queries []metrics.Query
		notes   []string
	}{
		"nothing in a short window": {nothing, 20 * time.Second, []metrics.Query{query, now}, []string{note}},
		"nothing in 30 seconds":     {nothing, 30 * time.Second, []metrics.Query{query}, nil},
		"nothing now":               {nothing, 20 * time.Second, []metrics.Query{now}, nil},
		"something":                 {vector, 20 * time.Second, []metrics.Query{query}, []string{warning}},
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.result) })
		answer, err := source(t, Config{URL: url}).Ask(t.Context(), c.window, c.queries)
		if diff := cmp.Diff(c.notes, answer.Notes); err != nil || diff != "" {
			t.Errorf("%s: error %v, notes (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestSaysHowFarBackItsNumbersReach asks for 24 hours of a Prometheus that keeps less.
func TestSaysHowFarBackItsNumbersReach(t *testing.T) {
	const now = " or min(timestamp(proxy_build_info{job=\"linkerd-proxy\"}))"
	const coarse = "min(min_over_time(timestamp(proxy_build_info{job=\"linkerd-proxy\"})[1d:14m24s]))" + now
	const fine = "min(min_over_time(timestamp(proxy_build_info{job=\"linkerd-proxy\"})[28m48s:9s] offset 5h40m36s))" +
		now
	const then = "count(proxy_build_info{job=\"linkerd-proxy\"} offset 1d)"
	sample := func(at, value string) string {
		return `{"metric":{},"value":[` + at + `,"` + value + `"]}`
	}
	for name, c := range map[string]struct {
		answers map[string]string
		window  time.Duration // asked
		covers  time.Duration
		note    string
	}{
		"all of it": {map[string]string{then: sample("100000", "3")}, 24 * time.Hour, 24 * time.Hour, ""},
		"six hours": {map[string]string{coarse: sample("100000", "78700"), fine: sample("100000", "78400")}, 24 * time.Hour,
			6 * time.Hour,
			"Prometheus at URL has numbers for only the last 6h of 1d: earlier requests are missing"},
		"no proxies": {nil, 24 * time.Hour, 24 * time.Hour,
			"Prometheus at URL has no numbers of proxies: no job linkerd-proxy scrapes one"},
		"a short window, for which nobody asks": {nil, time.Minute, time.Minute, ""},
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`,
				c.answers[r.FormValue("query")])
		})
		answer, err := source(t, Config{URL: url}).Ask(t.Context(), c.window, []metrics.Query{query})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(strings.Join(answer.Notes, "\n"), url, "URL"); got != c.note ||
			answer.Window != c.covers {
			t.Errorf("%s: notes %q, window %v; want %q, %v", name, got, answer.Window, c.note, c.covers)
		}
	}
}

// TestAnswersAreInTheOrderOfTheQueries checks that queries which run at once do not mix.
func TestAnswersAreInTheOrderOfTheQueries(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscanf(r.FormValue("query"), `sum by () (m%d{job="linkerd-proxy"})`, &n)
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%d"]}]}}`, n)
	})
	var queries []metrics.Query
	for i := range 40 {
		queries = append(queries, metrics.Query{Metric: fmt.Sprintf("m%d", i), Now: true})
	}
	answer, err := source(t, Config{URL: url}).Ask(t.Context(), time.Minute, queries)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range answer.Samples {
		if s[0].Value != float64(i) {
			t.Errorf("answer %d is %v", i, s)
		}
	}
}

// TestQueriesInFlightAreBounded asks several questions at once.
func TestQueriesInFlightAreBounded(t *testing.T) {
	var running, most atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		for range 100 { // others can come meanwhile
			runtime.Gosched()
		}
		_, _ = io.WriteString(w, vector)
	})
	s := source(t, Config{URL: url})
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			_, err := s.Ask(t.Context(), time.Minute, slices.Repeat([]metrics.Query{query}, 30))
			return err
		})
	}
	if err := group.Wait(); err != nil || most.Load() > maxRunning || most.Load() <= 1 {
		t.Errorf("error %v, %d queries ran at once; want at most %d", err, most.Load(), maxRunning)
	}
}

func TestErrorsNameTheURLAndTheRemedy(t *testing.T) {
	reply := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a page of HTML": {reply(200, "<html>"), "URL does not answer as Prometheus does (invalid character '<' looking " +
			"for beginning of value); check that the URL is Prometheus's"},
		"no data": {reply(200, `{"status":"success"}`),
			"URL does not answer as Prometheus does (a <nil> instead of a vector)"},
		"another result": {reply(200, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`),
			"(a *model.Scalar instead of a vector)"},
		"an empty answer": {reply(200, ""),
			"URL does not answer as Prometheus does (unexpected end of JSON input)"},
		"a refused query": {reply(422, `{"status":"error","errorType":"execution","error":"too many\nsamples \u001b[2J"}`),
			"Prometheus at URL refused the query: execution: too many samples \uFFFD[2J"},
		"a refusal within a success": {reply(200, `{"status":"error","errorType":"bad_data","error":"parse error"}`),
			"Prometheus at URL refused the query: bad_data: parse error"},
		"no rights": {reply(401, "no token"),
			"Prometheus at URL refused the request: client error: 401: no token; check the URL's path and the bearer token"},
		"a wrong path": {reply(404, "404 page not found"), "refused the request: client error: 404: 404 page not found"},
		"a failure": {reply(503, "starting"),
			"Prometheus at URL failed: server error: 503: starting; its log has the cause"},
		"it gives up":     {reply(503, `{"status":"error"}`+strings.Repeat("x", 500)), "..."},
		"it does not end": {endless, "answer of Prometheus at URL: more than 64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, c.handler)
			_, err := source(t, Config{URL: url}).Ask(t.Context(), time.Minute, []metrics.Query{query})
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), url, "URL"); !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for chunk := make([]byte, 1<<20); ; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestPrometheusAway(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	lis.Close()
	_, err = source(t, Config{URL: "http://user:secret@" + addr}).Ask(t.Context(), time.Minute, []metrics.Query{query})
	want := "reach Prometheus at http://user:xxxxx@" + addr + ": dial tcp " + addr + ": connect: connection refused; " +
		"check that it runs and that the URL is right"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestPrometheusSlow(t *testing.T) {
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	_, err := source(t, Config{URL: url, Timeout: time.Millisecond}).Ask(t.Context(), time.Minute, []metrics.Query{query})
	want := "Prometheus at " + url + " gave no answer within 1ms: it is overloaded or cannot be reached; " +
		"a shorter time window asks less of it"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source(t, Config{URL: url}).Ask(ctx, time.Minute, []metrics.Query{query}); !errors.Is(err,
		context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// TestTheTokenGoesToItsHostOnly checks that a token is read again for each request, and that a redirect does not get
// it.
func TestTheTokenGoesToItsHostOnly(t *testing.T) {
	seen := make(chan string, 1)
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		_, _ = io.WriteString(w, vector)
	})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer second" {
			http.Redirect(w, r, other+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		seen <- r.Header.Get("Authorization")
		_, _ = io.WriteString(w, vector)
	})
	file := filepath.Join(t.TempDir(), "token")
	s := source(t, Config{URL: url, BearerTokenFile: file})
	for _, c := range []struct{ token, want string }{{"first\n", "Bearer first"}, {"second", ""}} {
		if err := os.WriteFile(file, []byte(c.token), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ask(t.Context(), time.Minute, []metrics.Query{query}); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != c.want {
			t.Errorf("token %q: got %q, want %q", c.token, got, c.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask(t.Context(), time.Minute, []metrics.Query{query}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: got %v", err)
	}
}

func TestCA(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, vector)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	s := source(t, Config{URL: server.URL, CAFile: file})
	if _, err := s.Ask(t.Context(), time.Minute, []metrics.Query{query}); err != nil {
		t.Error(err)
	}
	_, err := source(t, Config{URL: server.URL}).Ask(t.Context(), time.Minute, []metrics.Query{query})
	if err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("without the CA: got %v", err)
	}
}

// TestCARotates replaces the CA in its file, as a Secret's volume does.
func TestCARotates(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, vector)
	}))
	defer server.Close()
	file := meshtest.NewCA(t).RootsFile()
	s := source(t, Config{URL: server.URL, CAFile: file})
	if _, err := s.Ask(t.Context(), time.Minute, []metrics.Query{query}); err == nil ||
		!strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("with another CA: got %v", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask(t.Context(), time.Minute, []metrics.Query{query}); err != nil {
		t.Errorf("with the new CA: %v", err)
	}
	elsewhere := source(t, Config{URL: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), CAFile: file})
	if _, err := elsewhere.Ask(t.Context(), time.Minute, []metrics.Query{query}); err == nil ||
		!strings.Contains(err.Error(), "certificate is valid for") {
		t.Errorf("by a name that the certificate does not have: got %v", err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{URL: "prometheus:9090"}, `URL "prometheus:9090" of Prometheus: want one such as http://`},
		{Config{URL: "ftp://a"}, `URL "ftp://a" of Prometheus`},
		{Config{URL: "http://"}, `URL "http://" of Prometheus`},
		{Config{URL: "http://a", CAFile: empty}, "has no PEM certificate"},
		{Config{URL: "http://a", CAFile: empty + "-not"}, "no such file"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.config, err, c.want)
		}
	}
}
