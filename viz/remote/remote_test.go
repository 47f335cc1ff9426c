package remote

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

	"github.com/tulle-mesh/tulle/viz/metrics"
)

var queries = []metrics.Query{{Metric: "request_total", By: []string{"pod"},
	Match: []metrics.Match{metrics.Is("authority", "a\"\n\u00e9"), metrics.Not("tls", "true")}}, {Metric: "m", Now: true}}

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
