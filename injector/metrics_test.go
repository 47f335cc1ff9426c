package injector

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tulle-mesh/tulle/injector/inject"
)

// Users choose namespaces and the kinds of owners: neither makes series without end.
func TestMetricsOfReviewsAreBounded(t *testing.T) {
	const reviews = 3 * maxNamespaces
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	for i := range reviews {
		m.observe(fmt.Sprint("Kind", i), fmt.Sprint("shop-", i),
			inject.Decision{Action: inject.Inject, At: inject.AtNamespace})
	}
	m.observe("Deployment", "shop-0", inject.Decision{Action: inject.Inject, At: inject.AtNamespace})
	for _, family := range []string{"proxy_inject_admission_requests_total", "proxy_inject_admission_responses_total"} {
		got, err := testutil.GatherAndCount(registry, family)
		if want := maxNamespaces + 2; err != nil || got != want {
			t.Errorf("%s: %d series (%v), want %d", family, got, err, want)
		}
	}
	others := m.requests.WithLabelValues("other", otherNamespace, inject.AtNamespace)
	if got, want := testutil.ToFloat64(others), float64(reviews-maxNamespaces); got != want {
		t.Errorf("%v reviews of other namespaces, want %v", got, want)
	}
	if got := testutil.ToFloat64(m.requests.WithLabelValues("Deployment", "shop-0", inject.AtNamespace)); got != 1 {
		t.Errorf("%v reviews of a namespace that was there before, want 1", got)
	}
}
