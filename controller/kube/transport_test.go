package kube

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestFailedRequestsAreCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/forbidden":
			w.WriteHeader(http.StatusForbidden)
		case "/exists": // an Event that another replica has written
			w.WriteHeader(http.StatusConflict)
		}
	}))
	transport := &http.Transport{}
	counted := CountFailures(prometheus.NewRegistry())(transport).(*counting)
	get := func(path string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := counted.RoundTrip(request); err == nil {
			_ = response.Body.Close()
		}
	}
	get("/ok")
	get("/exists")
	if got := testutil.CollectAndCount(counted.failures); got != 0 {
		t.Errorf("%d series after requests that did not fail, want 0", got)
	}
	get("/forbidden")
	server.Close()
	transport.CloseIdleConnections()
	get("/ok")
	for _, status := range []string{"403", "unreachable"} {
		if got := testutil.ToFloat64(counted.failures.WithLabelValues(status)); got != 1 {
			t.Errorf("failures{status=%q} = %v, want 1", status, got)
		}
	}
}
