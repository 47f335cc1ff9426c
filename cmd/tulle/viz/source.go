package viz

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/install"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsclient"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/prometheus"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// metricsAPISelector selects the pods of metrics-api.
const metricsAPISelector = install.ExtensionLabel + "=" + install.Extension + ",component=" + install.MetricsAPIName

// PrometheusFlags holds --prometheusURL and --prometheusJobs.
type PrometheusFlags struct {
	url  string
	jobs []string
}

// Register adds the flags.
func (p *PrometheusFlags) Register(flags *pflag.FlagSet) {
	flags.StringVar(&p.url, "prometheusURL", "", "address of the Prometheus to ask, instead of the viz extension")
	flags.StringSliceVar(&p.jobs, "prometheusJobs", []string{prometheus.ProxyJob},
		"jobs with which the Prometheus of --prometheusURL reads proxies")
}

// Source returns the source of numbers for a command outside viz, such as `tulle policy learn`. It chooses as viz does.
func Source(ctx context.Context, env Env, cl *cluster.Client, p PrometheusFlags) (metrics.Source, error) {
	return (&commands{Env: env, prometheus: p}).source(ctx, cl)
}

// source returns the source of the numbers: the Prometheus of --prometheusURL if given, otherwise the extension's
// metrics-api, otherwise the proxies themselves. If one of the first two fails, the proxies are read after all.
func (c *commands) source(ctx context.Context, cl *cluster.Client) (metrics.Source, error) {
	switch {
	case c.Env.Source != nil:
		return c.Env.Source(ctx, cl)
	case c.prometheus.url != "":
		server, err := prometheus.New(prometheus.Config{URL: c.prometheus.url, Jobs: c.prometheus.jobs,
			Timeout: c.PrometheusTimeout})
		if err != nil {
			return nil, fmt.Errorf("--prometheusURL: %w", err)
		}
		return metrics.Fallback{First: server, Second: c.readProxies(cl, "Prometheus has no answer.")}, nil
	}
	installed, pod, err := metricsAPI(ctx, cl)
	switch {
	case err != nil:
		return c.readProxies(cl, fmt.Sprintf("Cannot look for the viz extension (%v).", err)), nil
	case !installed:
		return c.readProxies(cl,
			"The viz extension is not installed. `tulle viz install | kubectl apply -f -` installs it."), nil
	case pod == "":
		return c.readProxies(cl, fmt.Sprintf("No pod of metrics-api in namespace %s is ready.", install.Namespace)), nil
	}
	api := metricsclient.New(metricsclient.Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return cl.DialPod(context.WithoutCancel(ctx), install.Namespace, pod, mesh.MetricsAPIPort)
	}})
	if c.forDashboard {
		return metrics.Fallback{First: api, Second: c.readProxies(cl, "The viz extension does not answer.")}, nil
	}
	return metrics.Fallback{First: metricsAPISource{c, api},
		Second: c.readProxies(cl, "The viz extension does not answer.")}, nil
}

// metricsAPI returns whether the extension's metrics-api is installed, and one of its pods that is ready, if any.
func metricsAPI(ctx context.Context, cl *cluster.Client) (installed bool, pod string, err error) {
	ctx, cancel := context.WithTimeout(ctx, cluster.LookTimeout)
	defer cancel()
	pods, err := cl.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metricsAPISelector})
	if apierrors.IsForbidden(err) {
		return false, "", fmt.Errorf("you need the verb list on pods in namespace %s", install.Namespace)
	}
	if err != nil {
		return false, "", err
	}
	for _, p := range pods.Items {
		for _, condition := range p.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
				return true, p.Name, nil
			}
		}
	}
	return len(pods.Items) > 0, "", nil
}

// readProxies returns a source that reads the proxies through the API server, and says the reason: on stderr, or for
// the dashboard in a note.
func (c *commands) readProxies(cl *cluster.Client, reason string) metrics.Source {
	cfg := scrape.Config{
		Pods: objects.New(cl, c.ControlNamespace()).FreshPods,
		Open: func(ctx context.Context, pod *corev1.Pod, port int) (io.ReadCloser, error) {
			return cluster.OpenMetrics(ctx, cl, pod, port)
		},
	}
	if c.forDashboard {
		cfg.MaxWindow = liveMaxWindow
		return notedSource{reason, scrape.New(cfg)}
	}
	return proxySource{c, reason, scrape.New(cfg)}
}

// metricsAPISource is metrics-api. It prints on stderr if the answer will take as long as the window.
type metricsAPISource struct {
	c *commands
	metrics.Source
}

// Ask implements metrics.Source.
func (s metricsAPISource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer,
	error) {
	var announced atomic.Bool
	ctx = metrics.WithProgress(ctx, func(left time.Duration) {
		announced.Store(true)
		s.c.note([]string{fmt.Sprintf("metrics-api gets no answer from Prometheus. It reads the proxies for %v.", left)})
	})
	answer, err := s.Source.Ask(ctx, window, queries)
	if announced.Load() {
		answer.Notes = metrics.WithoutOrigin(answer.Notes)
	}
	return answer, err
}

// proxySource is the proxies. It prints on stderr why they are read, and for how long.
type proxySource struct {
	c      *commands
	reason string
	metrics.Source
}

// Ask implements metrics.Source.
func (s proxySource) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	doing := fmt.Sprintf("Reading the proxies for %v.", window)
	if !slices.ContainsFunc(queries, func(q metrics.Query) bool { return !q.Now }) {
		doing = "Reading the proxies."
	}
	s.c.note([]string{s.reason + " " + doing})
	answer, err := s.Source.Ask(ctx, window, queries)
	answer.Notes = metrics.WithoutOrigin(answer.Notes)
	return answer, err
}
