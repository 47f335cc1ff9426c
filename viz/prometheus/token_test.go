package prometheus

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/prometheustest"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// TestPrometheusBehindATokenAndTLS asks a real Prometheus behind a gateway that wants TLS and a bearer token, as hosted
// ones have it. Without the token there is no answer.
func TestPrometheusBehindATokenAndTLS(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "proxy_build_info 1\n") })
	backend, err := url.Parse(prometheustest.Start(t, map[string]any{
		"global": map[string]any{"scrape_interval": "500ms", "scrape_timeout": "500ms"},
		"scrape_configs": []map[string]any{{"job_name": ProxyJob, "metrics_path": "/",
			"static_configs": []map[string]any{{"targets": []string{strings.TrimPrefix(proxy, "http://")}}}}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(backend)
	gateway := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gateway.Certificate().Raw})))
	build := []metrics.Query{{Metric: metrics.BuildInfo, Now: true}}
	ask := func(c Config) (metrics.Answer, error) {
		c.URL = gateway.URL
		return source(t, c).Ask(t.Context(), time.Minute, build)
	}
	config := Config{CAFile: ca, BearerTokenFile: file("token", "secret\n")}
	answer, err := ask(config)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		if err == nil && len(answer.Samples[0]) == 1 {
			break
		}
		answer, err = ask(config)
	}
	if err != nil || len(answer.Samples[0]) != 1 || answer.Samples[0][0].Value != 1 {
		t.Fatalf("with the token: %v, error %v; want the number of one proxy", answer, err)
	}
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"no token": {Config{CAFile: ca}, "refused the request: client error: 401"},
		"another token": {Config{CAFile: ca, BearerTokenFile: file("other", "guess")},
			"refused the request: client error: 401"},
		"no certificate": {Config{BearerTokenFile: config.BearerTokenFile}, "certificate"},
	} {
		if answer, err := ask(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, error %v; want %q", name, answer, err, test.want)
		}
	}
}
