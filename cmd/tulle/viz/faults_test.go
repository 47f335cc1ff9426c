package viz

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsapi"
	"github.com/tulle-mesh/tulle/viz/prometheus"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// TestPrometheusFaults asks a Prometheus that does not answer as one should, with the flag and through metrics-api. The
// command says what is wrong and answers from the proxies.
func TestPrometheusFaults(t *testing.T) {
	away := "127.0.0.1:1" // nothing listens there
	reply := func(status int, body string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for name, tt := range map[string]struct{ address, want string }{
		"away": {away, "reach Prometheus at http://" + away + ": dial tcp " + away + ": connect: connection refused; check " +
			"that it runs and that the URL is right"},
		"slow": {serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}), "gave no answer within 200ms: it is overloaded or cannot be reached"},
		"a page": {reply(200, "<html>\x1b[2J"), "does not answer as Prometheus does (invalid character '<'"},
		"another shape": {reply(200, `{"status":"success","data":{"resultType":"string","result":[1,"a"]}}`),
			`unexpected value type "string"`},
		"no JSON":  {reply(200, `{"status":"succ`), "does not answer as Prometheus does"},
		"an error": {reply(500, "\x1b[31mpanic"), "failed: server error: 500"},
		"a login page": {reply(403, "log in"),
			"refused the request: client error: 403: log in; check the URL's path and the bearer"},
	} {
		server := prometheus.Config{URL: "http://" + tt.address, Timeout: 200 * time.Millisecond}
		for way, with := range map[string]struct {
			api  http.HandlerFunc
			flag string
		}{
			"with the flag": {nil, "--prometheusURL " + server.URL}, "through metrics-api": {apiWith(t, server), ""},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				b := reachable(t, with.api)
				b.prometheusTimeout = server.Timeout
				r := b.run(t, "shop", append([]string{"edges", "deploy"}, strings.Fields(with.flag)...)...)
				if r.fault != nil || !strings.Contains(r.out, "why") {
					t.Errorf("stdout %q, stderr %q, error %v; want the proxies' answer", r.out, r.err, r.fault)
				}
				if !strings.Contains(r.err, tt.want) || strings.Contains(r.err, "\x1b") {
					t.Errorf("stderr %q, want %q", r.err, tt.want)
				}
			})
		}
	}
}

// apiWith is a metrics-api that asks a Prometheus, and otherwise the proxy of the web pod.
func apiWith(t *testing.T, server prometheus.Config) http.HandlerFunc {
	t.Helper()
	first, err := prometheus.New(server)
	if err != nil {
		t.Fatal(err)
	}
	b := shop(t)
	b.pods[0].Labels["linkerd.io/proxy-deployment"] = "web"
	second := scrape.New(scrape.Config{
		Pods: func(context.Context, string) ([]*corev1.Pod, error) { return b.pods[:1], nil },
		Open: func(context.Context, *corev1.Pod, int) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(proxyText)), nil
		},
	})
	return metricsapi.New(metricsapi.Config{Source: metrics.Fallback{First: first, Second: second}, Log: zap.NewNop(),
		Registry: prom.NewRegistry()}).ServeHTTP
}

// TestCommandsNameWhatIsWrong gives each command a resource, a name, a namespace and a window with a slip.
func TestCommandsNameWhatIsWrong(t *testing.T) {
	const window, selector = "window", "selector"
	slips := []struct{ what, namespace, args, want string }{
		{"type", "shop", "deplyo", `resource type "deplyo": unknown; did you mean "deploy"?`},
		{"name", "shop", "deploy/wep", `deployment "wep": not found in namespace "shop"; did you mean "web"?`},
		{"namespace", "shob", "deploy", `namespace "shob": not found; did you mean "shop"?`},
		{"namespace", "shob", "deploy/web", `namespace "shob": not found; did you mean "shop"?`},
		{window, "shop", "deploy -t 5s", `--time-window "5s": want at least 15s`},
		{window, "shop", "deploy -t 1min", `--time-window "1min": want a time such as 30s, 10m or 1h`},
		{"output", "shop", "deploy -o yml", `output "yml": want `},
		{selector, "shop", "deploy -l =a", `--selector "=a": `},
		{"no resource", "shop", "", "name a resource, such as deploy or deploy/web"},
	}
	for command, without := range map[string][]string{"stat": nil, "stat-inbound": nil, "stat-outbound": nil,
		"routes": nil,
		"authz":  nil, "edges": {window, selector}, "tap": {window}, "top": {window, "output"}} {
		for _, slip := range slips {
			if slices.Contains(without, slip.what) {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", command, slip.args), func(t *testing.T) {
				r := shop(t).run(t, slip.namespace, append([]string{command}, strings.Fields(slip.args)...)...)
				if r.fault == nil || !strings.Contains(r.fault.Error(), slip.want) {
					t.Errorf("in namespace %s: got error %v, stdout %q, stderr %q; want %q", slip.namespace, r.fault, r.out, r.err,
						slip.want)
				}
			})
		}
	}
	for _, tt := range []struct{ namespace, args, want string }{
		{"shob", "list", `namespace "shob": not found; did you mean "shop"?`},
		{"shop", "list deploy", `"deploy": viz list takes no arguments`},
		{"shop", "routes deploy/web --to svc/apii", `service "apii": not found in namespace "shop"; did you mean "api"?`},
		{"shop", "routes deploy/web --to depoly/api", `--to: resource type "depoly": unknown; did you mean "deploy"?`},
		{"shop", "routes deploy/web --to svc/api --to-namespace othr", `namespace "othr": not found; did you mean "other"?`},
	} {
		if r := shop(t).run(t, tt.namespace, strings.Fields(tt.args)...); r.fault == nil ||
			!strings.Contains(r.fault.Error(), tt.want) {
			t.Errorf("%s in namespace %s: got error %v, stdout %q; want %q", tt.args, tt.namespace, r.fault, r.out, tt.want)
		}
	}
}
