package mesh

import (
	"math"
	"strings"
	"testing"
)

func TestParseCollector(t *testing.T) {
	for _, tt := range []struct {
		name, in, wantErr string
		want              Collector
	}{
		{name: "gRPC", in: "otel.tracing:4317", want: Collector{Addr: "otel.tracing:4317"}},
		{name: "an address", in: "[fd00::1]:4317", want: Collector{Addr: "[fd00::1]:4317"}},
		{name: "HTTP", in: "http://otel.tracing:4318", want: Collector{"otel.tracing:4318", true, "/v1/traces"}},
		{name: "HTTP with a slash", in: "http://otel.tracing:4318/", want: Collector{"otel.tracing:4318", true, "/v1/traces"}},
		{name: "HTTP with a path", in: "http://otel:80/otlp/v1/traces", want: Collector{"otel:80", true, "/otlp/v1/traces"}},
		{name: "no port", in: "otel.tracing", wantErr: "missing port"},
		{name: "HTTP without a port", in: "http://otel.tracing", wantErr: "missing port"},
		{name: "no host", in: ":4317", wantErr: "host"},
		{name: "a port that is none", in: "otel:70000", wantErr: "port"},
		{name: "a path without HTTP", in: "otel/x:4317", wantErr: "host"},
		{name: "the port of HTTP", in: "otel:4318", wantErr: "write http://otel:4318"},
		{name: "TLS", in: "https://otel:4318", wantErr: "send to a meshed collector in the cluster"},
		{name: "another scheme", in: "zipkin://otel:9411", wantErr: "scheme"},
		{name: "a user", in: "http://a:b@otel:4318", wantErr: "user"},
		{name: "empty", in: "", wantErr: "missing port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseCollector(tt.in)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error is %v, want one with %q", err, tt.wantErr)
				}
			} else if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestTracingValidate(t *testing.T) {
	good := Tracing{Collector: "otel:4317", CollectorID: "spiffe://cluster.local/ns/a/sa/b", SamplingRatio: 1}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Tracing){
		"collector":     func(c *Tracing) { c.Collector = "otel" },
		"collectorID":   func(c *Tracing) { c.CollectorID = "otel" },
		"samplingRatio": func(c *Tracing) { c.SamplingRatio = math.NaN() },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
