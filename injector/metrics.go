package injector

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tulle-mesh/tulle/injector/inject"
)

// metrics are the webhook's counters. Names and labels of the first two are Linkerd's. Every label value comes from a
// fixed list; only the namespace is free, but bounded in number.
type metrics struct {
	requests  *prometheus.CounterVec
	responses *prometheus.CounterVec
	denials   *prometheus.CounterVec
	errors    *prometheus.CounterVec
	failures  *prometheus.CounterVec
	events    *prometheus.CounterVec
	expiry    prometheus.Gauge

	mu         sync.Mutex // guards the field below
	namespaces map[string]struct{}
}

const (
	// maxNamespaces bounds the namespaces in metrics: a user may create and delete any number of them.
	maxNamespaces = 2000
	// otherNamespace stands for the others. No namespace can have this name.
	otherNamespace = "_other"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	m := &metrics{
		namespaces: map[string]struct{}{},
		requests: counter("proxy_inject_admission_requests_total", "Reviews of pods and Services.",
			"owner_kind", "namespace", "annotation_at"),
		responses: counter("proxy_inject_admission_responses_total", "Answered reviews, by outcome.",
			"owner_kind", "namespace", "annotation_at", "skip", "skip_reason"),
		denials: counter("tulle_inject_denials_total", "Refused objects, by reason.", "reason"),
		errors: counter("tulle_inject_request_errors_total",
			"Requests without an answer, and connections that were refused, by reason.", "reason"),
		failures: counter("tulle_inject_failures_total",
			"Failed work beside reviews, by task; the last valid state stays active.",
			"task"),
		events: counter("tulle_inject_events_total", "Events on owners, by outcome.", "outcome"),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_inject_certificate_expiration_timestamp_seconds",
			Help: "When the certificate that the webhook serves expires, in seconds since 1970.",
		}),
	}
	reg.MustRegister(m.expiry)
	return m
}

// observe counts one answered review.
func (m *metrics) observe(ownerKind, namespace string, d inject.Decision) {
	kind, namespace := boundedKind(ownerKind), m.boundedNamespace(namespace)
	m.requests.WithLabelValues(kind, namespace, d.At).Inc()
	skip := d.Action != inject.Inject
	m.responses.WithLabelValues(kind, namespace, d.At, strconv.FormatBool(skip), string(d.Reason)).Inc()
}

// boundedNamespace returns the namespace as labels name it.
func (m *metrics) boundedNamespace(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.namespaces[name]; !ok && len(m.namespaces) >= maxNamespaces {
		return otherNamespace
	}
	m.namespaces[name] = struct{}{}
	return name
}

// boundedKind maps an owner's kind, which may be any custom resource's, to a fixed list.
func boundedKind(kind string) string {
	switch kind {
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController", "Pod",
		"Service":
		return kind
	default:
		return "other"
	}
}

// Values of the labels of tulle_inject_request_errors_total and tulle_inject_denials_total beside the reasons of
// package inject.
const (
	errTooLarge    = "too_large"
	errUnreadable  = "unreadable"
	errVersion     = "unknown_version"
	errNoRequest   = "no_request"
	errBadObject   = "bad_object"
	errNamespace   = "namespace_unavailable"
	errOverload    = "overloaded"
	errConnections = "too_many_connections"
	errInternal    = "internal"

	denyAnnotation = "invalid_annotation"
	denyPod        = "pod_conflicts_with_proxy"
)
