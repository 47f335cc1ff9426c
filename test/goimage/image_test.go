package goimage

import (
	"os"
	"strings"
	"testing"
)

// TestPrometheusIsOneVersion compares the three places that pin it.
func TestPrometheusIsOneVersion(t *testing.T) {
	module := "v0." + strings.Replace(strings.TrimPrefix(PrometheusVersion, "v"), ".", "", 1)
	for file, want := range map[string]string{
		"../../viz/install/values.yaml":        "name: prometheus, tag: " + PrometheusVersion + ",",
		"../cluster/modules/prometheus/go.mod": "\tgithub.com/prometheus/prometheus " + module + " //",
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), want) {
			t.Errorf("%s does not have %q", file, want)
		}
	}
}
