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
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/prometheus"
	"github.com/tulle-mesh/tulle/viz/remote"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// metricsAPISelector selects the pods of metrics-api.
const metricsAPISelector = install.ExtensionLabel + "=" + install.Extension + ",component=" + install.MetricsAPIName

// Prometheus is the flags about a Prometheus of the user.
type Prometheus struct {
	url  string
	jobs []string
}

// Register adds the flags.
func (p *Prometheus) Register(flags *pflag.FlagSet) {
	flags.StringVar(&p.url, "prometheusURL", "", "address of the Prometheus to ask, instead of the viz extension")
	flags.StringSliceVar(&p.jobs, "prometheusJobs", []string{prometheus.ProxyJob},
		"jobs with which the Prometheus of --prometheusURL reads proxies")
}

// Source returns where the numbers of a command that is not below viz come from: as those of viz do.
func Source(ctx context.Context, env Env, cl *cluster.Client, p Prometheus) (metrics.Source, error) {
	return (&commands{Env: env, prometheus: p}).source(ctx, cl)
}

// source returns where numbers come from: the Prometheus of the flag, otherwise the extension's metrics-api, otherwise
// the proxies themselves. If the first has no answer, the proxies have.
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
		return metrics.Fallback{First: server, Second: c.proxies(cl, "Prometheus has no answer.")}, nil
	}
	installed, pod, err := metricsAPI(ctx, cl)
	switch {
	case err != nil:
		return c.proxies(cl, fmt.Sprintf("Cannot look for the viz extension (%v).", err)), nil
	case !installed:
		return c.proxies(cl, "The viz extension is not installed. `tulle viz install | kubectl apply -f -` installs it."), nil
	case pod == "":
		return c.proxies(cl, fmt.Sprintf("No pod of metrics-api in namespace %s is ready.", install.Namespace)), nil
	}
	api := remote.New(remote.Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return cl.DialPod(context.WithoutCancel(ctx), install.Namespace, pod, mesh.MetricsAPIPort)
	}})
	return metrics.Fallback{First: patient{c, api}, Second: c.proxies(cl, "The viz extension does not answer.")}, nil
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

// proxies reads the proxies through the API server, and says why.
func (c *commands) proxies(cl *cluster.Client, reason string) metrics.Source {
	return announced{c, reason, scrape.New(scrape.Config{
		Pods: objects.New(cl, c.ControlNamespace()).PodsNow,
		Open: func(ctx context.Context, pod *corev1.Pod, port int) (io.ReadCloser, error) {
			return cluster.OpenMetrics(ctx, cl, pod, port)
		},
	})}
}

// patient says on stderr that an answer of metrics-api takes as long as the window.
type patient struct {
	c *commands
	metrics.Source
}

// Ask implements metrics.Source.
func (p patient) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	var said atomic.Bool
	ctx = metrics.WithProgress(ctx, func(left time.Duration) {
		said.Store(true)
		p.c.note([]string{fmt.Sprintf("metrics-api gets no answer from a Prometheus. It reads the proxies for %v.", left)})
	})
	answer, err := p.Source.Ask(ctx, window, queries)
	if said.Load() {
		answer.Notes = metrics.WithoutOrigin(answer.Notes)
	}
	return answer, err
}

// announced says on stderr why an answer takes as long as the window.
type announced struct {
	c      *commands
	reason string
	metrics.Source
}

// Ask implements metrics.Source.
func (a announced) Ask(ctx context.Context, window time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	doing := fmt.Sprintf("Reading the proxies for %v.", window)
	if !slices.ContainsFunc(queries, func(q metrics.Query) bool { return !q.Now }) {
		doing = "Reading the proxies."
	}
	a.c.note([]string{a.reason + " " + doing})
	answer, err := a.Source.Ask(ctx, window, queries)
	answer.Notes = metrics.WithoutOrigin(answer.Notes)
	return answer, err
}
