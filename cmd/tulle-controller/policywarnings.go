package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/internal/servingcert"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/policywarning"
)

// policyWarningsManager names metrics-api as the author of its objects.
const policyWarningsManager = "tulle-viz-metrics-api"

// warnings returns what serves the admission webhook until its context ends. The process is ready without it: the API
// server does without an answer, and the viz commands do not need it.
func (f *metricsAPIFlags) warnings(config *rest.Config, env *daemon.Env) (func(ctx context.Context) error, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make dynamic client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make metadata client: %w", err)
	}
	// Reading the proxies takes as long as the window, which nobody waits for.
	source, err := f.prometheus()
	if err != nil {
		return nil, err
	}
	serving := f.webhookCertificate(client, env)
	cluster := policyReader{kube.Clients{Kubernetes: client, Dynamic: dyn}, f.namespace}
	server := policywarning.New(policywarning.Config{
		OptedIn: cluster.asks, Read: cluster.read, Source: source, Now: time.Now, Log: env.Log.Named("policy-warnings"),
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: serving.Certificate},
		Registry: env.Registry,
	})
	lis, err := net.Listen("tcp", f.policyWarningsAddr)
	if err != nil {
		return nil, fmt.Errorf("listen for reviews: %w", err)
	}
	env.Log.Info("serving policy warnings", zap.Stringer("addr", lis.Addr()))
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return endsWith(ctx, serving.Run(ctx, func() {})) })
		group.Go(func() error {
			return endsWith(ctx, serving.Watch(ctx, meta, servingcert.Object{
				Resource: servingcert.ValidatingWebhooks, Name: mesh.PolicyWarningsWebhook}))
		})
		group.Go(func() error { return server.Run(ctx, lis) })
		return group.Wait()
	}, nil
}

// webhookCertificate returns what keeps the certificate for the API server.
func (f *metricsAPIFlags) webhookCertificate(client kubernetes.Interface, env *daemon.Env) *servingcert.Manager {
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tulle_metrics_api_certificate_failures_total",
		Help: "Failures to keep the certificate for the API server, and its authority in the webhook configuration.",
	})
	expiry := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tulle_metrics_api_certificate_expiration_timestamp_seconds",
		Help: "When the certificate that the API server meets expires, in seconds since 1970.",
	})
	env.Registry.MustRegister(failures, expiry)
	return servingcert.New(servingcert.Config{
		Client: client, Namespace: f.vizNamespace, Secret: mesh.PolicyWarningsSecret, Service: "metrics-api",
		SecretLabels: map[string]string{mesh.ExtensionLabel: mesh.VizExtension, "component": "metrics-api"},
		Owner:        policyWarningsManager,
		Announce:     servingcert.ValidatingWebhook(client, mesh.PolicyWarningsWebhook, policyWarningsManager),
		Failed:       failures.Inc, Serving: func(expires time.Time) { expiry.Set(float64(expires.Unix())) },
		Now: time.Now, Log: env.Log.Named("serving"),
	})
}

// policyReader reads what policy depends on.
type policyReader struct {
	clients      kube.Clients
	controlPlane string // namespace
}

// asks reports whether a namespace asks for warnings. One that is being deleted takes its policies along.
func (p policyReader) asks(ctx context.Context, namespace string) (bool, error) {
	ns, err := p.clients.Kubernetes.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	return ns.DeletionTimestamp == nil && ns.Annotations[mesh.PolicyWarnAnnotation] == "true", nil
}

// read returns the objects of a namespace, and what the installation says about policy.
func (p policyReader) read(ctx context.Context, namespace string) (model.Config, []model.Event, error) {
	var config model.Config
	var events []model.Event
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { config, err = p.config(ctx); return err })
	group.Go(func() (err error) { events, err = kube.ReadPolicy(ctx, p.clients, namespace); return err })
	err := group.Wait()
	return config, events, err
}

func (p policyReader) config(ctx context.Context) (model.Config, error) {
	return installed(ctx, p.clients.Kubernetes, p.controlPlane)
}

// installed reads what a model needs of the values of the installation whose control plane is in a namespace.
func installed(ctx context.Context, client kubernetes.Interface, controlPlane string) (model.Config, error) {
	object, err := client.CoreV1().ConfigMaps(controlPlane).Get(ctx, mesh.InstallConfigMap, metav1.GetOptions{})
	if err != nil {
		return model.Config{}, fmt.Errorf("read the installation's values: %w", err)
	}
	return explain.Settings(object, controlPlane)
}
