package identity

import (
	"crypto/x509"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tulle-mesh/tulle/internal/latest"
)

type metrics struct {
	issued   prometheus.Counter
	refusals *prometheus.CounterVec
	notices  *prometheus.CounterVec
	copies   *prometheus.CounterVec
	leader   prometheus.Gauge
	missing  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, authority *latest.Cell[*Authority]) *metrics {
	m := &metrics{
		issued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tulle_identity_certificates_issued_total", Help: "Certificates issued to workloads.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_identity_refusals_total", Help: "Requests for a certificate that were refused, by reason.",
		}, []string{"reason"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_identity_authority_changes_total",
			Help: "Changes of issuer and trust anchors, taken or refused, by the reason of the Event.",
		}, []string{"reason"}),
		copies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_identity_trust_roots_writes_total", Help: "Writes of the trust anchors' ConfigMaps, by result.",
		}, []string{"result"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_identity_leader", Help: "Whether this replica is the one that writes, 1 or 0.",
		}),
	}
	m.missing = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tulle_identity_trust_anchor_missing",
		Help: "Whether the Secret of the trust anchor that the issuer is under does not exist and cannot be restored, 1 " +
			"or 0; 0 on replicas that do not lead.",
	})
	reg.MustRegister(m.issued, m.refusals, m.notices, m.copies, m.leader, m.missing)
	gauge := func(name, help string, value func(*Authority) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			a, seq := authority.Load()
			if seq == 0 {
				return 0
			}
			return value(a)
		}))
	}
	gauge("issuer_cert_ttl_seconds", "Seconds until the issuer's certificate, or one above it, ends.",
		func(a *Authority) float64 { return time.Until(a.Issuer.NotAfter()).Seconds() })
	gauge("tulle_identity_issuer_start_timestamp_seconds", "When the issuer's certificate began to be valid.",
		func(a *Authority) float64 { return float64(a.Issuer.Certificate().NotBefore.Unix()) })
	gauge("tulle_identity_issuer_expiration_timestamp_seconds", "When the issuer's certificate, or one above it, ends.",
		func(a *Authority) float64 { return float64(a.Issuer.NotAfter().Unix()) })
	gauge("tulle_identity_trust_anchor_expiration_timestamp_seconds", "When the first trust anchor of the bundle ends.",
		func(a *Authority) float64 { return float64(firstEnd(a.Roots).Unix()) })
	gauge("tulle_identity_trust_anchors", "Trust anchors in the bundle.",
		func(a *Authority) float64 { return float64(len(a.Roots)) })
	return m
}

func firstEnd(roots []*x509.Certificate) time.Time {
	end := roots[0].NotAfter
	for _, root := range roots[1:] {
		if root.NotAfter.Before(end) {
			end = root.NotAfter
		}
	}
	return end
}
