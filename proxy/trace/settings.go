package trace

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Source says which proxy the spans come from.
type Source struct {
	Namespace, Pod, Node string
	Version              string
	Log                  *zap.Logger
}

// FromSettings makes the Tracer that the settings ask for; nil if they ask for none. certs may be nil.
func FromSettings(settings *mesh.ProxyConfig, certs *workload.Manager, from Source) (*Tracer, error) {
	s := settings.Tracing
	if s == nil {
		return nil, nil
	}
	collector, err := mesh.ParseCollector(s.Collector)
	if err != nil {
		return nil, fmt.Errorf("read tracing.collector %q: %w", s.Collector, err)
	}
	cfg := Config{
		Collector: collector, Ratio: s.SamplingRatio, Resource: resource(s, from), Version: from.Version, Log: from.Log,
		Interval: time.Duration(s.Interval),
	}
	if certs != nil {
		cfg.Self = certs.ID()
	}
	if s.CollectorID != "" {
		id, err := mesh.ParseID(s.CollectorID)
		if err != nil {
			return nil, fmt.Errorf("read tracing.collectorID: %w", err)
		}
		if certs == nil {
			return nil, errors.New("read tracing.collectorID: a meshed collector needs a certificate")
		}
		cfg.TLS = certs.ClientTLS(id, mesh.ALPNRelay)
	}
	return New(cfg), nil
}

// resource describes the pod by OpenTelemetry's semantic conventions for resources.
func resource(s *mesh.Tracing, from Source) []Attribute {
	instance := ""
	if from.Pod != "" {
		instance = from.Namespace + "." + from.Pod
	}
	out := []Attribute{
		{"service.name", s.ServiceName}, {"service.namespace", from.Namespace}, {"service.instance.id", instance},
		{"k8s.namespace.name", from.Namespace}, {"k8s.pod.name", from.Pod}, {"k8s.node.name", from.Node},
	}
	if kind, name, ok := strings.Cut(s.Workload, "/"); ok {
		out = append(out, Attribute{"k8s." + kind + ".name", name})
	}
	return out
}

// AddMetrics adds the series of the exporter.
func (t *Tracer) AddMetrics(r *stats.Registry) {
	r.Func("tulle_traces_spans_exported_total", "", func() float64 { return float64(t.Exported()) })
	r.Func("tulle_traces_export_failures_total", "", func() float64 { return float64(t.Failures()) })
	for _, reason := range []string{QueueFull, Unavailable, Rejected} {
		labels := stats.Labels("").With("reason", reason)
		r.Func("tulle_traces_spans_dropped_total", labels, func() float64 { return float64(t.Dropped(reason)) })
	}
}
