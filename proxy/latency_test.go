package proxy

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestLatencyIsTheWaitForTheFirstByte tells the time that a client waits from the time that an exchange takes, and from
// the upload.
func TestLatencyIsTheWaitForTheFirstByte(t *testing.T) {
	const pause = 500 * time.Millisecond
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	for _, tc := range []struct {
		name  string
		serve http.HandlerFunc
		body  func() io.Reader // of the request; nil for none
		// what has the pause in it
		latency, answer bool
	}{
		{name: "a stream goes on after its first byte", answer: true, serve: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "x")
			flush(w)
			<-time.After(pause)
		}},
		{name: "a server thinks after its head", latency: true, answer: true,
			serve: func(w http.ResponseWriter, _ *http.Request) {
				flush(w)
				<-time.After(pause)
				_, _ = io.WriteString(w, "x")
			}},
		{name: "an answer has no body", latency: true, answer: true, serve: func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(pause)
			w.WriteHeader(http.StatusNoContent)
		}},
		{name: "an upload takes its time", latency: true, body: slowBody(pause),
			serve: func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothVersions(t, func(t *testing.T, http2 bool) {
				pd := startPod(t, nil)
				o := viaRoutes(nil)
				o.Routes, o.Endpoints = nil, toService(serveHTTP(t, tc.serve)).Endpoints
				pd.plane.SetOutbound(pd.target(clusterIP), o)
				var body io.Reader = http.NoBody
				if tc.body != nil {
					body = tc.body()
				}
				res, err := client(t, pd.outboundTo(clusterIP), http2).Post("http://cart.shop/", "text/plain", body)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Fatal(err)
				}
				pd.awaitMetric(t, "outbound_http_route_request_duration_seconds_count")
				text := pd.scrape(t)
				for _, m := range []struct {
					name string
					unit time.Duration
					long bool
				}{
					{"response_latency_ms_sum", time.Millisecond, tc.latency},
					{"outbound_http_route_request_duration_seconds_sum", time.Second, true},
					{"outbound_http_route_backend_response_duration_seconds_sum", time.Second, tc.answer},
				} {
					if got := time.Duration(metric(t, text, m.name) * float64(m.unit)); (got >= pause/2) != m.long {
						t.Errorf("%s is %v with a pause of %v; want the pause in it: %t", m.name, got, pause, m.long)
					}
				}
			})
		})
	}
}

// slowBody is a body whose second half comes after a pause.
func slowBody(pause time.Duration) func() io.Reader {
	return func() io.Reader {
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "half")
			<-time.After(pause)
			_, _ = io.WriteString(w, "half")
			w.Close()
		}()
		return r
	}
}

// metric returns the value of the only series of that name.
func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+"{"); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %s", name)
	return 0
}
