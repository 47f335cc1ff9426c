package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"

	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsapi"
	"github.com/tulle-mesh/tulle/viz/prometheus"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// maxScrapeSeries bounds the memory of the scrapes that run: about 40 MB, of a limit of 250 MiB.
const maxScrapeSeries = 1_000_000

// maxScrapeWindow bounds how long a request without a Prometheus takes.
const maxScrapeWindow = 10 * time.Minute

type metricsAPIFlags struct {
	commonFlags

	prometheusURL   string
	proxyJobs       []string
	bearerTokenFile string
	caFile          string

	policyWarnings     bool
	policyWarningsAddr string
	vizNamespace       string
}

func metricsAPICommand() *cobra.Command {
	var f metricsAPIFlags
	cmd := &cobra.Command{
		Use:   "metrics-api",
		Short: "Answer the viz commands' questions for numbers: from a Prometheus, or from the proxies themselves",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Run(f.daemon("metrics-api"), f.run)
		},
	}
	f.bind(cmd, mesh.MetricsAPIPort, mesh.MetricsAPIAdminPort)
	flags := cmd.Flags()
	flags.StringVar(&f.prometheusURL, "prometheus-url", "",
		`URL of a Prometheus that scrapes the proxies; "" reads the proxies for each request`)
	flags.StringSliceVar(&f.proxyJobs, "prometheus-jobs", []string{prometheus.ProxyJob},
		"jobs with which the Prometheus reads the proxies; it may read applications with others")
	flags.StringVar(&f.bearerTokenFile, "prometheus-bearer-token-file", "",
		"file with a bearer token for the Prometheus; read again for each request")
	flags.StringVar(&f.caFile, "prometheus-ca-file", "", "CA of the Prometheus, PEM (default the system's)")
	flags.BoolVar(&f.policyWarnings, "policy-warnings", false,
		"serve the admission webhook that warns of policies that cut callers off")
	flags.StringVar(&f.policyWarningsAddr, "policy-warnings-addr", fmt.Sprintf(":%d", mesh.PolicyWarningsPort),
		"address of that webhook")
	flags.StringVar(&f.vizNamespace, "namespace", mesh.VizNamespace, "namespace of metrics-api itself")
	return cmd
}

func (f *metricsAPIFlags) run(ctx context.Context, env *daemon.Env) error {
	listening := env.Ready.Task("server")
	config, err := f.kubernetes("metrics-api", env)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	source, err := f.source(client)
	if err != nil {
		return err
	}
	server := metricsapi.New(metricsapi.Config{Source: source, Log: env.Log, Registry: env.Registry})
	lis, err := net.Listen("tcp", f.addr)
	if err != nil {
		return fmt.Errorf("listen for queries: %w", err)
	}
	env.Log.Info("serving", zap.Stringer("addr", lis.Addr()), zap.Bool("prometheus", f.prometheusURL != ""))
	listening()
	if !f.policyWarnings {
		return server.Run(ctx, lis)
	}
	warnings, err := f.warnings(config, env)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx, lis) })
	group.Go(func() error { return warnings(ctx) })
	return group.Wait()
}

// source returns the Prometheus of the flags, and the proxies for when it has no answer.
func (f *metricsAPIFlags) source(client kubernetes.Interface) (metrics.Source, error) {
	proxies := scrape.New(scrape.Config{
		Pods: func(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
			return listPods(ctx, client, namespace)
		},
		Open: scrape.OpenHTTP(&http.Client{
			Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
			// A pod must not send the request on to somebody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		MaxWindow: maxScrapeWindow, MaxSeries: maxScrapeSeries,
	})
	first, err := f.prometheus()
	if err != nil || first == nil {
		return proxies, err
	}
	return metrics.Fallback{First: first, Second: proxies}, nil
}

// prometheus returns the Prometheus of the flags; nil without one.
func (f *metricsAPIFlags) prometheus() (metrics.Source, error) {
	if f.prometheusURL == "" {
		return nil, nil
	}
	source, err := prometheus.New(prometheus.Config{URL: f.prometheusURL, BearerTokenFile: f.bearerTokenFile,
		CAFile: f.caFile, Jobs: f.proxyJobs})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url, --prometheus-ca-file: %w", err)
	}
	return source, nil
}

// listPods asks the API server when numbers are needed from the proxies. A watch of all pods would cost memory all the
// time for what a Prometheus makes rare. It asks for pages, so that no answer is large.
func listPods(ctx context.Context, client kubernetes.Interface, namespace string) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Pods(namespace).List(ctx, options)
	})
	err := pages.EachListItem(ctx, metav1.ListOptions{
		LabelSelector: mesh.ControlPlaneNSLabel, FieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
	}, func(o runtime.Object) error {
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("a %T instead of a pod", o)
		}
		pod = pod.DeepCopy() // the page can go
		pod.ManagedFields = nil
		pods = append(pods, pod)
		return nil
	})
	return pods, err
}
