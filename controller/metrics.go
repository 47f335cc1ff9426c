package controller

import "github.com/prometheus/client_golang/prometheus"

// metrics of the loop.
type metrics struct {
	events, resolves, changes, rebuilds prometheus.Counter
	problems                            *prometheus.CounterVec
	batch, publish                      prometheus.Histogram
	watches, answers                    prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		events:   counter("tulle_destination_events_total", "Changes of Kubernetes objects."),
		resolves: counter("tulle_destination_resolves_total", "Answers that were derived again."),
		changes:  counter("tulle_destination_changes_total", "Answers that differed from the last one and were published."),
		rebuilds: counter("tulle_destination_rebuilds_total",
			"Snapshots that were built because a namespace or a node changed."),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_destination_problems_total",
			Help: "Findings in annotations and spec mistakes of access policies, by the annotation or field. " +
				"Spec mistakes of routes and profiles are in their status alone.",
		}, []string{"field"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tulle_destination_batch_size", Help: "Events and requests that were handled together.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tulle_destination_publish_seconds", Help: "Time to bring every watch that a batch touched up to date.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 10, 6),
		}),
		watches: gauge("tulle_destination_watches",
			"Targets that are watched, counted once for each node and namespace that watches them."),
		answers: gauge("tulle_destination_answers", "Different answers to the watched targets."),
	}
	r.MustRegister(m.events, m.resolves, m.changes, m.rebuilds, m.problems, m.batch, m.publish, m.watches, m.answers)
	return m
}
