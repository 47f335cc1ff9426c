package traces

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/tulle-mesh/tulle/internal/prometheustest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy"
)

const (
	textType = "text/plain"
	openType = "application/openmetrics-text"
)

// page is a scrape as Prometheus reads it.
type page struct {
	series    map[string]float64
	types     map[string]string // by the name of the series, so without suffixes of histograms
	exemplars map[string]exemplar.Exemplar
}

// scrapePage asks a proxy for its metrics in a format.
func scrapePage(t *testing.T, p *proxy.Proxy, accept string) page {
	t.Helper()
	text, header := fetch(t, "http://"+p.Addresses().Admin.String()+"/metrics", accept)
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, accept+"; version=") {
		t.Fatalf("got %s, asked for %s", got, accept)
	}
	return parsePage(t, text, header.Get("Content-Type"))
}

func fetch(t *testing.T, url, accept string) (text []byte, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return text, response.Header
}

// parsePage reads a scrape with Prometheus's own parser. It normalises the bounds of buckets, as Prometheus 3 does.
func parsePage(t *testing.T, text []byte, contentType string) page {
	t.Helper()
	out := page{map[string]float64{}, map[string]string{}, map[string]exemplar.Exemplar{}}
	parser, err := textparse.New(text, contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s: %v", contentType, err)
		}
		switch entry {
		case textparse.EntryType:
			name, kind := parser.Type()
			if contentType[0] == 'a' && kind == "counter" {
				name = append(slices.Clone(name), "_total"...)
			}
			out.types[string(name)] = string(kind)
		case textparse.EntrySeries:
			var l labels.Labels
			parser.Labels(&l)
			_, _, value := parser.Series()
			if bound, err := strconv.ParseFloat(l.Get("le"), 64); err == nil {
				l = labels.NewBuilder(l).Set("le", fmt.Sprint(bound)).Labels()
			}
			if _, twice := out.series[l.String()]; twice {
				t.Errorf("%s twice", l)
			}
			out.series[l.String()] = value
			var e exemplar.Exemplar
			if parser.Exemplar(&e) {
				out.exemplars[l.String()] = e
			}
		}
	}
}

// sampledHop runs two proxies that make spans, with a named route, and takes a sampled request through them.
func sampledHop(t *testing.T) (client, server *proxy.Proxy) {
	t.Helper()
	c := startCollector(t)
	h := hop{
		tracing: mesh.Tracing{Collector: c.grpc},
		app:     http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		routes:  namedRoute(mesh.RequestPolicy{}),
	}
	client, server = h.proxies(t)
	get(t, urlOf(client), unsampled)
	if n := len(scrapePage(t, client, openType).exemplars); n != 0 {
		t.Errorf("%d exemplars before a request was sampled", n)
	}
	get(t, urlOf(client), sampled)
	c.await(t, 2) // both have counted it
	return client, server
}

func TestExemplarsNameTheirTrace(t *testing.T) {
	client, server := sampledHop(t)
	for _, c := range []struct {
		name     string
		proxy    *proxy.Proxy
		families []string
	}{
		{"client", client, []string{
			"outbound_http_route_backend_response_duration_seconds_bucket",
			"outbound_http_route_request_duration_seconds_bucket",
			"response_latency_ms_bucket", "route_actual_response_latency_ms_bucket", "route_response_latency_ms_bucket"}},
		{"server", server, []string{"inbound_http_request_duration_seconds_bucket",
			"inbound_http_response_duration_seconds_bucket", "response_latency_ms_bucket"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for series, e := range scrapePage(t, c.proxy, openType).exemplars {
				name := series[strings.Index(series, `__name__="`)+len(`__name__="`):]
				got = append(got, name[:strings.IndexByte(name, '"')])
				if e.Labels.Get("trace_id") != traceID || e.Value < 0 || !e.HasTs || e.Ts > time.Now().UnixMilli() {
					t.Errorf("%s: exemplar %+v", series, e)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.families, got); diff != "" {
				t.Errorf("exemplars (-want +got)\n%s", diff)
			}
			if n := len(scrapePage(t, c.proxy, textType).exemplars); n != 0 {
				t.Errorf("%d exemplars in the text format", n)
			}
		})
	}
}

// TestEachAttemptHasAnExemplar checks that a failed attempt names the trace as well as the one that succeeded, and that
// the request has one exemplar.
func TestEachAttemptHasAnExemplar(t *testing.T) {
	c := startCollector(t)
	var calls atomic.Int64
	h := hop{
		tracing: mesh.Tracing{Collector: c.grpc},
		app: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				w.WriteHeader(503)
			}
		}),
		routes: namedRoute(mesh.RequestPolicy{Retry: &mesh.Retry{
			Limit: 1, Statuses: []mesh.StatusRange{{First: 500, Last: 599}}}}),
	}
	client, _ := h.proxies(t)
	get(t, urlOf(client), sampled)
	c.await(t, 5)
	got := map[string]int{}
	for series := range scrapePage(t, client, openType).exemplars {
		for _, name := range []string{"response_latency_ms", "route_actual_response_latency_ms"} {
			for _, status := range []string{"200", "503"} {
				if strings.Contains(series, `"`+name+`_bucket"`) && strings.Contains(series, `status_code="`+status+`"`) {
					got[name+" "+status]++
				}
			}
		}
	}
	want := map[string]int{
		"response_latency_ms 200": 1, "route_actual_response_latency_ms 200": 1, "route_actual_response_latency_ms 503": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exemplars (-want +got)\n%s", diff)
	}
}

// namedRoute returns an HTTPRoute with one rule, which takes everything.
func namedRoute(policy mesh.RequestPolicy) []mesh.Route {
	return []mesh.Route{{
		Ref: mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "shop", Name: "cart"},
		Rules: []mesh.Rule{{Matches: []mesh.Match{{}}, Policy: policy,
			Backends: []mesh.WeightedBackend{{Service: cartRef, Weight: 1}}}},
	}}
}

// changing reports whether a scrape, or the time, changes a series.
func changing(series string) bool {
	for _, name := range []string{
		`"process_`, `"tulle_memory_`, `"tulle_goroutines"`, `"tulle_traces_`, `"tulle_metrics_`, `"tulle_control_stale_`,
	} {
		if strings.Contains(series, name) {
			return true
		}
	}
	return false
}

// TestFormatsAgree compares both formats, as Prometheus's own parser reads them.
func TestFormatsAgree(t *testing.T) {
	client, server := sampledHop(t)
	for name, p := range map[string]*proxy.Proxy{"client": client, "server": server} {
		t.Run(name, func(t *testing.T) {
			text, open := scrapePage(t, p, textType), scrapePage(t, p, openType)
			for _, one := range []page{text, open} {
				for series := range one.series {
					if changing(series) {
						one.series[series] = math.MaxInt32
					}
				}
			}
			if len(text.series) < 50 {
				t.Fatalf("only %d series", len(text.series))
			}
			if diff := cmp.Diff(text.series, open.series); diff != "" {
				t.Errorf("series (-text +OpenMetrics)\n%s", diff)
			}
			if diff := cmp.Diff(text.types, open.types); diff != "" {
				t.Errorf("types (-text +OpenMetrics)\n%s", diff)
			}
		})
	}
}

// TestPrometheusReadsBothFormats lets a Prometheus (PROMETHEUS, or in the PATH) scrape one proxy in both formats, and
// compares the series that it has.
func TestPrometheusReadsBothFormats(t *testing.T) {
	client, _ := sampledHop(t)
	prometheus := startPrometheus(t, map[string]string{
		"text": as(t, client, textType), "open": as(t, client, openType),
	})
	var text, open []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(200 * time.Millisecond) {
		text, open = seriesOf(t, prometheus, "text"), seriesOf(t, prometheus, "open")
		if len(text) > 100 && len(text) == len(open) {
			break
		}
	}
	if diff := cmp.Diff(text, open); diff != "" || len(text) < 100 {
		t.Errorf("%d series (-text +OpenMetrics)\n%s", len(text), diff)
	}
}

// as serves a proxy's metrics in a format, whatever Prometheus asks for, and returns the address.
func as(t *testing.T, p *proxy.Proxy, accept string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, header := fetch(t, "http://"+p.Addresses().Admin.String()+"/metrics", accept)
		w.Header().Set("Content-Type", header.Get("Content-Type"))
		_, _ = w.Write(text)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// startPrometheus runs a Prometheus that scrapes each job's target, and returns its URL.
func startPrometheus(t *testing.T, jobs map[string]string) string {
	t.Helper()
	var scrapes []map[string]any
	for name, target := range jobs {
		scrapes = append(scrapes, map[string]any{"job_name": name,
			"static_configs": []any{
				map[string]any{"targets": []string{target}, "labels": map[string]string{"instance": "web"}},
			}})
	}
	return prometheustest.Start(t, map[string]any{
		"global": map[string]any{"scrape_interval": "1s"}, "scrape_configs": scrapes,
	})
}

// seriesOf returns the series of a job without its name; nothing while Prometheus does not answer.
func seriesOf(t *testing.T, prometheus, job string) (out []string) {
	t.Helper()
	query := url.QueryEscape(`{job="` + job + `",__name__!~"up|scrape_.+"}`)
	response, err := http.Get(prometheus + "/api/v1/series?match[]=" + query)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	var answer struct{ Data []map[string]string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil
	}
	for _, series := range answer.Data {
		delete(series, "job")
		if bound, err := strconv.ParseFloat(series["le"], 64); err == nil {
			series["le"] = fmt.Sprint(bound)
		}
		out = append(out, labels.FromMap(series).String())
	}
	slices.Sort(out)
	return out
}
