package inject

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestDefaultsSurviveYAML(t *testing.T) {
	text, err := yaml.Marshal(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseValues(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Defaults(), got); diff != "" {
		t.Errorf("values after a round trip (-want +got):\n%s", diff)
	}
}

func TestParseValues(t *testing.T) {
	for _, tt := range []struct {
		name, in, wantErr string
	}{
		{name: "empty text gives the defaults", in: ""},
		{name: "chart keys are accepted", in: "proxy: {logLevel: debug, ports: {admin: 9191}, resources: {cpu: {limit: 1}}}"},
		{name: "unknown key", in: "proxy: {logLevle: debug}", wantErr: "logLevle"},
		{name: "bad value", in: "proxy: {opaquePorts: '1-'}", wantErr: "opaque-ports"},
		{name: "tracing", in: "proxy: {tracing: {enabled: true, collector: {endpoint: 'otel.tracing:4317'}}}"},
		{name: "tracing without a collector", in: "proxy: {tracing: {enabled: true}}", wantErr: "collector.endpoint"},
		{name: "tracing with a bad collector", in: "proxy: {tracing: {collector: {endpoint: 'https://otel:4318'}}}",
			wantErr: "send to a meshed collector in the cluster"},
		{name: "tracing with a bad ratio", in: "proxy: {tracing: {samplingRatio: 10}}", wantErr: "a number from 0 to 1"},
		{name: "root is refused", in: "proxy: {uid: 0}", wantErr: "never runs as root"},
		{name: "two listeners on one port", in: "proxy: {ports: {admin: 4143}}", wantErr: "both 4143"},
		{name: "unknown failure policy", in: "webhookFailurePolicy: Maybe", wantErr: "want Fail or Ignore"},
		{name: "podMaySet names an administrator's annotation", in: "podMaySet: [proxy-image]"},
		{name: "podMaySet with another name", in: "podMaySet: [proxy-imgae]", wantErr: "proxy-imgae"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseValues([]byte(tt.in))
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error is %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}
