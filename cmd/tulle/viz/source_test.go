package viz

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// proxyText is what the proxy of the web pod writes.
const proxyText = `# TYPE tcp_open_total counter
tcp_open_total{direction="outbound",peer="dst",dst_namespace="shop",dst_deployment="api",tls="no_identity",no_tls_reason="why"} 1
`

// serve answers on loopback until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// reachable is a shop whose web pod has a proxy that answers, and metrics-api if there is a handler for it.
func reachable(t *testing.T, api http.HandlerFunc) *bed {
	t.Helper()
	b := shop(t)
	addresses := map[string]string{
		fmt.Sprintf("web-5d8f7c-a:%d", mesh.AdminPort): serve(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, proxyText)
		}),
	}
	for _, p := range b.pods {
		p.Labels["linkerd.io/proxy-deployment"] = p.Labels["app"]
	}
	if api != nil {
		p := &corev1.Pod{}
		p.Namespace, p.Name = mesh.VizNamespace, "metrics-api-1"
		p.Labels = map[string]string{"linkerd.io/extension": "viz", "component": "metrics-api"}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		b.pods = append(b.pods, p)
		addresses[fmt.Sprintf("metrics-api-1:%d", mesh.MetricsAPIPort)] = serve(t, api)
	}
	b.dial = func(ctx context.Context, _, pod string, port int) (net.Conn, error) {
		address, ok := addresses[fmt.Sprintf("%s:%d", pod, port)]
		if !ok {
			return nil, fmt.Errorf("nothing listens on port %d of %s", port, pod)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	return b
}

// answerAPI answers as metrics-api does, from the series of testdata.
func answerAPI(t *testing.T) http.HandlerFunc {
	source := series(t)
	return func(w http.ResponseWriter, r *http.Request) {
		var request metrics.Request
		err := json.NewDecoder(r.Body).Decode(&request)
		answer, fault := source.Ask(r.Context(), request.Window, request.Queries)
		if err != nil || fault != nil {
			http.Error(w, fmt.Sprint(err, fault), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func TestSource(t *testing.T) {
	broken := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"error":"out of order\u001b"}`)
	}
	closed := serve(t, broken)
	noPods := func(typed *fake.Clientset, _ *metadatafake.FakeMetadataClient) {
		forbid(&typed.Fake, "pods", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil))
	}
	const direct, byAPI = "why", "√"
	for _, tt := range []struct {
		name, args string
		api        http.HandlerFunc
		react      func(*fake.Clientset, *metadatafake.FakeMetadataClient)
		out        string
		err        []string
	}{
		{"the extension answers", "", answerAPI(t), nil, byAPI, nil},
		{"without the extension", "", nil, nil, direct, []string{"The viz extension is not installed. `tulle viz install | " +
			"kubectl apply -f -` installs it. Reading the proxies."}},
		{"the extension fails", "", broken, nil, direct, []string{"The viz extension does not answer. Reading the proxies.",
			"out of order"}},
		{"the Prometheus of the flag fails", "--prometheusURL http://" + closed, answerAPI(t), nil, direct,
			[]string{"Prometheus has no answer. Reading the proxies.", closed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := reachable(t, tt.api)
			b.react = tt.react
			r := b.run(t, "shop", append([]string{"edges", "deploy"}, strings.Fields(tt.args)...)...)
			if r.fault != nil || !strings.Contains(r.out, tt.out) {
				t.Fatalf("stdout %q, stderr %q, error %v; want %q", r.out, r.err, r.fault, tt.out)
			}
			for _, want := range tt.err {
				if !strings.Contains(r.err, want) {
					t.Errorf("stderr %q, want %q", r.err, want)
				}
			}
			if strings.Contains(r.err, metrics.OriginPrefix) {
				t.Errorf("stderr %q says twice where the numbers come from", r.err)
			}
			if strings.Contains(r.err, "\x1b") || tt.err == nil && r.err != "" {
				t.Errorf("stderr %q", r.err)
			}
		})
	}
	b := reachable(t, answerAPI(t))
	b.react = noPods
	const verb = "you need the verb list on pods in namespace tulle-viz"
	if r := b.run(t, "shop", "stat", "srv"); r.fault == nil || !strings.Contains(r.err, verb) {
		t.Errorf("a user who may not list pods: stderr %q, error %v", r.err, r.fault)
	}
	if r := reachable(t, nil).run(t, "shop", "stat", "deploy", "--prometheusURL", "prometheus:9090"); r.fault == nil ||
		!strings.Contains(r.fault.Error(), "--prometheusURL") {
		t.Errorf("an address without a scheme: error %v", r.fault)
	}
}
