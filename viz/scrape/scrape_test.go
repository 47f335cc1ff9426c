package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// meshedPod returns a pod of a Deployment whose proxy runs.
func meshedPod(namespace, name, deployment string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), Labels: map[string]string{
			"linkerd.io/proxy-deployment": deployment, "linkerd.io/control-plane-ns": "tulle", "app": deployment}},
		Spec:   corev1.PodSpec{InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	}
}

// fleet is pods whose proxies answer with one text after the other.
type fleet struct {
	pods   []*corev1.Pod
	later  []*corev1.Pod // listed the second time; nil means the same
	lists  []string      // the namespaces that were listed
	asked  []string      // the pods that were read
	answer map[string][]func(context.Context) (io.ReadCloser, error)
}

func text(s string) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func broken(err error) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return nil, err }
}

// hang answers when the context ends.
func hang(ctx context.Context) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (f *fleet) config() Config {
	return Config{Parallel: 1,
		Pods: func(_ context.Context, namespace string) ([]*corev1.Pod, error) {
			pods := f.pods
			if f.lists = append(f.lists, namespace); len(f.lists) > 1 && f.later != nil {
				pods = f.later
			}
			var out []*corev1.Pod
			for _, p := range pods {
				if namespace == "" || p.Namespace == namespace {
					out = append(out, p)
				}
			}
			return out, nil
		},
		Open: func(ctx context.Context, pod *corev1.Pod, port int) (io.ReadCloser, error) {
			if port != mesh.AdminPort {
				return nil, fmt.Errorf("port %d", port)
			}
			f.asked = append(f.asked, pod.Name)
			answers := f.answer[pod.Name]
			if len(answers) == 0 {
				return nil, errors.New("asked too often")
			}
			f.answer[pod.Name] = answers[1:]
			return answers[0](ctx)
		}}
}

// requests is a scrape of a proxy that had n requests.
func requests(n int) func(context.Context) (io.ReadCloser, error) {
	return text(fmt.Sprintf("# HELP request_total Requests.\n# TYPE request_total counter\n"+
		"request_total{direction=\"inbound\",tls=\"true\"} %d\nrequest_total{direction=\"outbound\"} 7\n"+
		"# TYPE tcp_open_connections gauge\ntcp_open_connections{peer=\"src\"} %d\n", n, n%10))
}

var inbound = metrics.Query{Metric: "request_total", By: []string{"deployment"},
	Match: []metrics.Match{metrics.Is("direction", "inbound")}}

func TestAsk(t *testing.T) {
	type answers = map[string][]func(context.Context) (io.ReadCloser, error)
	web, cart := meshedPod("shop", "web-1", "web"), meshedPod("shop", "cart-1", "cart")
	restarted := meshedPod("shop", "web-1", "web")
	restarted.UID = "another"
	deployment := func(name string, value float64) metrics.Sample {
		return metrics.Sample{Labels: map[string]string{"deployment": name}, Value: value}
	}
	const origin = "the numbers come from 2 proxies, read twice, 1m0s apart"
	for name, c := range map[string]struct {
		fleet fleet
		want  []metrics.Sample
		notes []string
		err   string
	}{
		"increases by label": {
			fleet{pods: []*corev1.Pod{web, cart}, answer: answers{"web-1": {requests(10), requests(40)},
				"cart-1": {requests(5), requests(5)}}},
			[]metrics.Sample{deployment("cart", 0), deployment("web", 30)}, []string{origin}, ""},
		"a proxy that began again counts from 0": {
			fleet{pods: []*corev1.Pod{web, cart}, answer: answers{"web-1": {requests(100), requests(4)},
				"cart-1": {requests(5), requests(6)}}},
			[]metrics.Sample{deployment("cart", 1), deployment("web", 4)}, []string{origin}, ""},
		"a new series counts from 0": {
			fleet{pods: []*corev1.Pod{web, cart}, answer: answers{"web-1": {text("# HELP\n"), requests(4)},
				"cart-1": {requests(5), requests(6)}}},
			[]metrics.Sample{deployment("cart", 1), deployment("web", 4)}, []string{origin}, ""},
		"a new pod counts from 0": {
			fleet{pods: []*corev1.Pod{web}, later: []*corev1.Pod{web, cart}, answer: answers{
				"web-1": {requests(3), requests(4)}, "cart-1": {requests(6)}}},
			[]metrics.Sample{deployment("cart", 6), deployment("web", 1)}, []string{origin}, ""},
		"a pod that goes away is a note": {
			fleet{pods: []*corev1.Pod{web, cart}, later: []*corev1.Pod{cart}, answer: answers{"web-1": {requests(3)},
				"cart-1": {requests(5), requests(6)}}},
			[]metrics.Sample{deployment("cart", 1)},
			[]string{origin, "pod shop/web-1 is missing: it ended within the time window"}, ""},
		"a pod of the same name replaces one": {
			fleet{pods: []*corev1.Pod{web}, later: []*corev1.Pod{restarted}, answer: answers{
				"web-1": {requests(50), requests(2)}}},
			[]metrics.Sample{deployment("web", 2)},
			[]string{origin, "pod shop/web-1 is missing: it ended within the time window"}, ""},
		"a pod that fails the second time is a note, without control characters": {
			fleet{pods: []*corev1.Pod{web, cart}, answer: answers{
				"web-1":  {requests(3), broken(errors.New("reset \x1b[31mby\npeer"))},
				"cart-1": {requests(5), requests(6)}}},
			[]metrics.Sample{deployment("cart", 1)},
			[]string{origin, "pod shop/web-1 is missing: reset \uFFFD[31mby peer"}, ""},
		"a pod that hangs is a note": {
			fleet{pods: []*corev1.Pod{web, cart}, answer: answers{"web-1": {hang},
				"cart-1": {requests(5), requests(6)}}},
			[]metrics.Sample{deployment("cart", 1)},
			[]string{origin, "pod shop/web-1 is missing: it did not answer within 10s"}, ""},
		"no pod answers": {
			fleet{pods: []*corev1.Pod{web}, answer: answers{"web-1": {text("<html>")}}}, nil, nil,
			"none of 1 proxy answered; pod shop/web-1: read metrics: the answer is not in Prometheus's text format; " +
				"see `kubectl logs -n shop web-1 -c tulle-proxy`"},
		"no pods": {fleet{}, []metrics.Sample{},
			[]string{"the numbers come from 0 proxies, read twice, 1m0s apart"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer, err := New(c.fleet.config()).Ask(t.Context(), time.Minute, []metrics.Query{inbound})
				if got := errorText(err); got != c.err {
					t.Fatalf("error %q, want %q", got, c.err)
				}
				if err != nil {
					return
				}
				if diff := cmp.Diff([][]metrics.Sample{c.want}, answer.Samples); diff != "" {
					t.Errorf("samples (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.notes, answer.Notes); diff != "" {
					t.Errorf("notes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestSeriesAreBounded reads pods with too many series. They become notes; the others still count.
func TestSeriesAreBounded(t *testing.T) {
	many := func(n int, value int) func(context.Context) (io.ReadCloser, error) {
		var b strings.Builder
		b.WriteString("# TYPE request_total counter\n")
		for i := range n {
			fmt.Fprintf(&b, "request_total{direction=\"inbound\",client_id=\"%d\"} %d\n", i, value)
		}
		return text(b.String())
	}
	perClient := inbound
	perClient.By = []string{"deployment", "client_id"}
	for name, c := range map[string]struct {
		pod, all int
		note     string
	}{
		"of one pod": {8, 100, "pod shop/web-1 is missing: it has more than 8 series that the query needs"},
		"of all pods": {100, 30,
			"pod shop/web-1 is missing: all pods together have more than 30 series; ask for one namespace"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := fleet{pods: []*corev1.Pod{meshedPod("shop", "cart-1", "cart"), meshedPod("shop", "web-1", "web")},
				answer: map[string][]func(context.Context) (io.ReadCloser, error){
					"cart-1": {many(2, 1), many(2, 4)}, "web-1": {many(40, 1), many(40, 2)}}}
			config := f.config()
			config.Parallel, config.MaxPodSeries, config.MaxSeries = 1, c.pod, c.all
			answer, err := New(config).Ask(t.Context(), time.Minute, []metrics.Query{perClient, inbound})
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Samples[0]) != 2 || answer.Samples[1][0].Value != 6 || answer.Notes[len(answer.Notes)-1] != c.note {
				t.Errorf("%s: got %v and notes %q, want the samples of cart and the note %q", name, answer.Samples, answer.Notes,
					c.note)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestValuesNowNeedOneScrape checks that nobody waits for a gauge.
func TestValuesNowNeedOneScrape(t *testing.T) {
	f := fleet{pods: []*corev1.Pod{meshedPod("shop", "web-1", "web")},
		answer: map[string][]func(context.Context) (io.ReadCloser, error){"web-1": {requests(13)}}}
	answer, err := New(f.config()).Ask(t.Context(), time.Hour, []metrics.Query{
		{Metric: "tcp_open_connections", By: []string{"pod", "peer", "tls"}, Now: true}})
	if err != nil {
		t.Fatal(err)
	}
	want := metrics.Answer{Window: time.Hour, Notes: []string{"the numbers come from 1 proxy"},
		Samples: [][]metrics.Sample{{{Labels: map[string]string{"pod": "web-1", "peer": "src"}, Value: 3}}}}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOnlyPodsThatCanMatchAreRead checks what is listed and read, by the queries.
func TestOnlyPodsThatCanMatchAreRead(t *testing.T) {
	unmeshed, ended := meshedPod("shop", "old", "web"), meshedPod("shop", "ended", "web")
	unmeshed.Spec.InitContainers, ended.Status.Phase = nil, corev1.PodSucceeded
	pods := []*corev1.Pod{meshedPod("shop", "web-1", "web"), meshedPod("shop", "cart-1", "cart"),
		meshedPod("bank", "web-2", "web"), unmeshed, ended}
	ask := func(match ...metrics.Match) metrics.Query {
		return metrics.Query{Metric: "request_total", Match: match, Now: true}
	}
	for name, c := range map[string]struct {
		queries       []metrics.Query
		lists, asked  []string
		wantOneSample bool
	}{
		"all": {[]metrics.Query{ask()}, []string{""}, []string{"web-2", "cart-1", "web-1"}, true},
		"a namespace": {[]metrics.Query{ask(metrics.Is("namespace", "shop"))}, []string{"shop"},
			[]string{"cart-1", "web-1"}, true},
		"two namespaces": {[]metrics.Query{ask(metrics.Is("namespace", "shop")), ask(metrics.Is("namespace", "bank"))},
			[]string{"bank", "shop"}, []string{"web-2", "cart-1", "web-1"}, true},
		"an owner": {[]metrics.Query{ask(metrics.Is("namespace", "shop"), metrics.Is("deployment", "web"))},
			[]string{"shop"}, []string{"web-1"}, true},
		"not an owner": {[]metrics.Query{ask(metrics.Not("deployment", "web"))}, []string{""}, []string{"cart-1"},
			true},
		"an owner of no pod": {[]metrics.Query{ask(metrics.Is("statefulset", "web"))}, []string{""}, nil, false},
		"a pod":              {[]metrics.Query{ask(metrics.Is("pod", "web-2"))}, []string{""}, []string{"web-2"}, true},
		"a label of the series": {[]metrics.Query{ask(metrics.Is("direction", "none"))}, []string{""},
			[]string{"web-2", "cart-1", "web-1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleet{pods: pods, answer: map[string][]func(context.Context) (io.ReadCloser, error){
				"web-1": {requests(1)}, "web-2": {requests(2)}, "cart-1": {requests(3)}}}
			answer, err := New(f.config()).Ask(t.Context(), time.Minute, c.queries)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.lists, f.lists); diff != "" {
				t.Errorf("listed namespaces (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.asked, f.asked); diff != "" {
				t.Errorf("read pods (-want +got):\n%s", diff)
			}
			if got := len(answer.Samples[0]) == 1; got != c.wantOneSample {
				t.Errorf("samples %v", answer.Samples[0])
			}
		})
	}
}

func TestProgressCountsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleet{pods: []*corev1.Pod{meshedPod("shop", "web-1", "web")},
			answer: map[string][]func(context.Context) (io.ReadCloser, error){"web-1": {requests(1), requests(2)}}}
		var left []time.Duration
		ctx := metrics.WithProgress(t.Context(), func(d time.Duration) { left = append(left, d) })
		if _, err := New(f.config()).Ask(ctx, 3*time.Second, []metrics.Query{inbound}); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{3 * time.Second, 2 * time.Second, time.Second, 0}
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAskEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleet{pods: []*corev1.Pod{meshedPod("shop", "web-1", "web")},
			answer: map[string][]func(context.Context) (io.ReadCloser, error){"web-1": {requests(1)}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := New(f.config()).Ask(ctx, time.Hour, []metrics.Query{inbound})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestTooLongAWindow(t *testing.T) {
	cfg := (&fleet{}).config()
	cfg.MaxWindow = time.Minute
	_, err := New(cfg).Ask(t.Context(), time.Hour, []metrics.Query{inbound})
	if err == nil || !strings.Contains(err.Error(), "the time window is at most 1m0s") {
		t.Errorf("got %v", err)
	}
}

// TestAnExtrapolatedIncrease checks that scrapes that lie further apart than the window count for the window only.
func TestAnExtrapolatedIncrease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context) (io.ReadCloser, error) {
			<-time.After(6 * time.Second)
			return requests(166)(ctx)
		}
		f := fleet{pods: []*corev1.Pod{meshedPod("shop", "web-1", "web")},
			answer: map[string][]func(context.Context) (io.ReadCloser, error){"web-1": {requests(100), slow}}}
		answer, err := New(f.config()).Ask(t.Context(), time.Minute, []metrics.Query{inbound})
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.Samples[0][0].Value; got < 59.99 || got > 60.01 {
			t.Errorf("got %v, want 60 of the 66 requests in 66 s", got)
		}
	})
}

func TestManyMissingPodsAreCounted(t *testing.T) {
	f := fleet{answer: map[string][]func(context.Context) (io.ReadCloser, error){"pod-0": {requests(1)}}}
	for i := range 9 {
		f.pods = append(f.pods, meshedPod("shop", fmt.Sprintf("pod-%d", i), "web"))
	}
	answer, err := New(f.config()).Ask(t.Context(), time.Minute, []metrics.Query{{Metric: "request_total", Now: true}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Notes[len(answer.Notes)-1], "3 more pods are missing"; got != want || len(answer.Notes) != 7 {
		t.Errorf("notes %q", answer.Notes)
	}
}

func TestLabels(t *testing.T) {
	pod := meshedPod("shop", "web-1", "web")
	for key, value := range map[string]string{"linkerd.io/proxy-job": "nightly", "linkerd.io/workload-ns": "shop",
		"linkerd.io/proxy-namespace": "bank", "linkerd.io/namespace": "bank", "linkerd.io/proxy-pod": "x",
		"linkerd.io/job": "x", "linkerd.io/instance": "x", "linkerd.io/deployment": "x", "linkerd.io/a.b": "c",
		"linkerd.io/proxy-client_id": "x", "linkerd.io/authz_kind": "x"} {
		pod.Labels[key] = value
	}
	want := map[string]string{"job": "linkerd-proxy", "instance": "10.0.0.1:4191", "namespace": "shop", "pod": "web-1",
		"deployment": "web", "k8s_job": "nightly", "control_plane_ns": "tulle", "workload_ns": "shop"}
	if diff := cmp.Diff(want, Labels(pod)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPodCannotInventItsClients checks that a label of the pod does not replace the one that the proxy wrote.
func TestPodCannotInventItsClients(t *testing.T) {
	pod := meshedPod("shop", "web-1", "web")
	pod.Labels["linkerd.io/client_id"], pod.Labels["linkerd.io/proxy-client_id"] = "evil", "evil"
	f := fleet{pods: []*corev1.Pod{pod}, answer: map[string][]func(context.Context) (io.ReadCloser, error){
		"web-1": {text("request_total{client_id=\"good\"} 5\n")}}}
	answer, err := New(f.config()).Ask(t.Context(), time.Minute, []metrics.Query{
		{Metric: "request_total", By: []string{"client_id", "exported_client_id"}, Now: true}})
	if err != nil {
		t.Fatal(err)
	}
	want := []metrics.Sample{{Labels: map[string]string{"client_id": "good"}, Value: 5}}
	if diff := cmp.Diff(want, answer.Samples[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
