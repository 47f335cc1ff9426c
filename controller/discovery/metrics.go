package discovery

import "github.com/prometheus/client_golang/prometheus"

// metrics of the server. Reasons of refusals are the words of type reason.
type metrics struct {
	streams    prometheus.Gauge
	watches    prometheus.Gauge
	values     *prometheus.CounterVec
	refusals   *prometheus.CounterVec
	handshakes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_discovery_streams", Help: "Open streams of proxies.",
		}),
		watches: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_discovery_watches", Help: "Targets that proxies watch, counted once a proxy.",
		}),
		values: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_discovery_values_sent_total", Help: "Values sent to proxies, by kind.",
		}, []string{"kind"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_discovery_refusals_total",
			Help: "Connections and streams that were refused or ended because of what the peer did, by reason.",
		}, []string{"reason"}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_discovery_handshake_failures_total",
			Help: "Connections whose peer did not prove an identity of the mesh, by reason.",
		}, []string{"reason"}),
	}
	r.MustRegister(m.streams, m.watches, m.values, m.refusals, m.handshakes)
	for _, reason := range reasons {
		m.refusals.WithLabelValues(string(reason))
	}
	return m
}
