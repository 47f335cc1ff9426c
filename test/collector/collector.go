// Package collector is the OTLP receiver of the OpenTelemetry collector, for tests that look at the spans of proxies.
//
// It owns how the receiver is made and how spans look to a test. What becomes of them is up to who starts it.
package collector

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// Span is a span as the collector has it. Attributes of its resource begin with "resource.".
type Span struct {
	ptrace.Span
	Attributes map[string]any
}

// Start receives OTLP over gRPC and over HTTP at two addresses, and gives it to consume, which may not change it. stop
// ends that.
func Start(ctx context.Context, grpcAddr, httpAddr string, consume func(ptrace.Traces)) (
	stop func(context.Context) error, err error) {
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	err = confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": grpcAddr}, "http": map[string]any{"endpoint": httpAddr},
	}}).Unmarshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure the OTLP receiver: %w", err)
	}
	next, err := consumer.NewTraces(func(_ context.Context, traces ptrace.Traces) error { consume(traces); return nil })
	if err != nil {
		return nil, fmt.Errorf("make the receiver's consumer: %w", err)
	}
	r, err := factory.CreateTraces(ctx, receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger: zap.NewNop(), MeterProvider: noop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
		},
	}, cfg, next)
	if err != nil {
		return nil, fmt.Errorf("make the OTLP receiver: %w", err)
	}
	if err := r.Start(ctx, host{}); err != nil {
		return nil, fmt.Errorf("start the OTLP receiver: %w", err)
	}
	return r.Shutdown, nil
}

// host is a collector without extensions.
type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

// Spans returns the spans of what the receiver gave.
func Spans(traces ptrace.Traces) (out []Span) {
	for _, rs := range traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				got := Span{Span: s, Attributes: s.Attributes().AsRaw()}
				for k, v := range rs.Resource().Attributes().AsRaw() {
					got.Attributes["resource."+k] = v
				}
				got.Attributes["scope"] = ss.Scope().Name()
				out = append(out, got)
			}
		}
	}
	return out
}
