package kube

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// CountFailures returns a wrapper for rest.Config.Wrap that counts requests to the API server which found nobody or
// were turned down. Informers try again in silence: this is how an outage or a missing right shows.
func CountFailures(r prometheus.Registerer) func(http.RoundTripper) http.RoundTripper {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tulle_kube_request_failures_total",
		Help: "Requests to the API server that failed, by HTTP status, or \"unreachable\".",
	}, []string{"status"})
	r.MustRegister(failures)
	return func(next http.RoundTripper) http.RoundTripper { return &counting{next, failures} }
}

type counting struct {
	next     http.RoundTripper
	failures *prometheus.CounterVec
}

// RoundTrip implements http.RoundTripper. A request whose own context has ended is not a failure of the API server's.
func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	switch {
	case err != nil && r.Context().Err() == nil:
		c.failures.WithLabelValues("unreachable").Inc()
	case err == nil && response.StatusCode >= http.StatusBadRequest && response.StatusCode != http.StatusConflict:
		c.failures.WithLabelValues(strconv.Itoa(response.StatusCode)).Inc()
	}
	return response, err
}
