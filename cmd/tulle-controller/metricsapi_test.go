package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsapi"
	"github.com/tulle-mesh/tulle/viz/metricsclient"
)

// TestMetricsAPIFallsBackToTheProxies goes the whole way: a client, the HTTP API, a Prometheus that is away, the API
// server and a proxy's admin port.
func TestMetricsAPIFallsBackToTheProxies(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
		}
		_, _ = io.WriteString(w, "# TYPE tcp_open_connections gauge\ntcp_open_connections{peer=\"src\"} 3\n")
	}))
	defer proxy.Close()
	_, port, err := net.SplitHostPort(proxy.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(proxyPod(t, "web-1", port))
	for name, c := range map[string]struct {
		url   string
		notes []string
	}{
		"no Prometheus": {"", []string{"the numbers come from 1 proxy"}},
		"a Prometheus that is away": {"http://127.0.0.1:1", []string{
			"reach Prometheus at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; " +
				"check that it runs and that the URL is right", "the numbers come from 1 proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := metricsAPIFlags{prometheusURL: c.url}
			source, err := f.source(client)
			if err != nil {
				t.Fatal(err)
			}
			api := httptest.NewServer(metricsapi.New(metricsapi.Config{Source: source, Log: zap.NewNop(),
				Registry: prometheus.NewRegistry()}))
			defer api.Close()
			got, err := metricsclient.New(metricsclient.Config{URL: api.URL}).Ask(t.Context(), time.Minute, []metrics.Query{
				{Metric: "tcp_open_connections", By: []string{"pod"}, Match: []metrics.Match{metrics.Is("namespace", "shop")},
					Now: true}})
			if err != nil {
				t.Fatal(err)
			}
			want := metrics.Answer{Window: time.Minute, Notes: c.notes,
				Samples: [][]metrics.Sample{{{Labels: map[string]string{"pod": "web-1"}, Value: 3}}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func proxyPod(t *testing.T, name, port string) *corev1.Pod {
	t.Helper()
	var number int32
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name,
			Labels: map[string]string{mesh.ControlPlaneNSLabel: "tulle"}},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: mesh.ProxyContainer,
			Ports: []corev1.ContainerPort{{Name: "tulle-admin", ContainerPort: number}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "127.0.0.1"},
	}
}

// TestMetricsAPIListsPodsOnly checks that it needs no more of the API server than docs/rbac.md grants.
func TestMetricsAPIListsPodsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		var asked []string
		client.PrependReactor("*", "*", func(a kubetesting.Action) (bool, runtime.Object, error) {
			asked = append(asked, a.GetVerb()+" "+a.GetResource().Resource+" in "+a.GetNamespace())
			return false, nil, nil
		})
		source, err := (&metricsAPIFlags{}).source(client)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.Ask(t.Context(), time.Minute, []metrics.Query{
			{Metric: "request_total", Match: []metrics.Match{metrics.Is("namespace", "shop")}}}); err != nil {
			t.Fatal(err)
		}
		want := []string{"list pods in shop", "list pods in shop"}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestMetricsAPIListsPodsInPages asks an API server with more pods than fit on a page.
func TestMetricsAPIListsPodsInPages(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
		options := a.(kubetesting.ListActionImpl).GetListOptions()
		if options.Limit == 0 {
			t.Error("a list without a limit")
		}
		pod := metav1.ObjectMeta{Name: "of page " + options.Continue,
			Labels: map[string]string{mesh.ControlPlaneNSLabel: "tulle"}}
		page := &corev1.PodList{Items: []corev1.Pod{{ObjectMeta: pod}}}
		page.Continue = map[string]string{"": "2"}[options.Continue]
		return true, page, nil
	})
	pods, err := listPods(t.Context(), client, "")
	if err != nil || len(pods) != 2 || pods[1].Name != "of page 2" {
		t.Errorf("got %v, %v; want the pods of two pages", pods, err)
	}
}

// TestAProxyCannotRedirectMetricsAPI checks that a pod does not choose what metrics-api connects to.
func TestAProxyCannotRedirectMetricsAPI(t *testing.T) {
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer victim.Close()
	proxy := httptest.NewServer(http.RedirectHandler(victim.URL, http.StatusFound))
	defer proxy.Close()
	_, port, err := net.SplitHostPort(proxy.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	source, err := (&metricsAPIFlags{}).source(fake.NewClientset(proxyPod(t, "web-1", port)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Ask(context.Background(), time.Minute, []metrics.Query{{Metric: "m", Now: true}})
	if err == nil || !strings.Contains(err.Error(), "302 Found") {
		t.Errorf("got %v, want the redirect as an error", err)
	}
}

func TestMetricsAPIFlagsAreNamedWhenWrong(t *testing.T) {
	f := metricsAPIFlags{prometheusURL: "prometheus:9090"}
	if _, err := f.source(fake.NewClientset()); err == nil || !strings.Contains(err.Error(), "--prometheus-url") {
		t.Errorf("got %v, want an error that names the flag", err)
	}
}
