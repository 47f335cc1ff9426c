package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/internal/servingcert"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapapi"
)

// frontProxyInterval is how often the tap server reads how to recognize the API server.
const frontProxyInterval = time.Minute

// tapManager names the tap server as the author of its objects.
const tapManager = "tulle-viz-tap"

type tapFlags struct {
	commonFlags

	clusterDomain, identityAddr string
	tokenFile, trustRootsFile   string
	vizNamespace                string
}

func tapCommand() *cobra.Command {
	var f tapFlags
	cmd := &cobra.Command{
		Use:   "tap",
		Short: "Show users the requests that proxies serve, through the aggregated API tap.linkerd.io",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Run(f.daemon("tap"), f.run)
		},
	}
	f.bind(cmd, mesh.TapPort, mesh.TapAdminPort)
	flags := cmd.Flags()
	flags.StringVar(&f.vizNamespace, "namespace", mesh.VizNamespace, "namespace of the tap server itself")
	flags.StringVar(&f.clusterDomain, "cluster-domain", mesh.DefaultClusterDomain, "DNS domain of the cluster")
	flags.StringVar(&f.identityAddr, "identity-addr", "", "host:port of the identity controller (default its Service)")
	flags.StringVar(&f.tokenFile, "token-file", mesh.TokenFile, "ServiceAccount token for the identity controller")
	flags.StringVar(&f.trustRootsFile, "trust-roots-file", mesh.TrustRootsDir+"/"+mesh.TrustRootsKey,
		"trust anchors, PEM")
	return cmd
}

func (f *tapFlags) run(ctx context.Context, env *daemon.Env) error {
	certificate, listening := env.Ready.Task("certificate"), env.Ready.Task("server")
	announced := env.Ready.Task("serving certificate and APIService")
	config, err := f.kubernetes("tap", env)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make metadata client: %w", err)
	}
	serving, err := f.serving(config, client, env)
	if err != nil {
		return err
	}
	front := &frontProxy{client: client, log: env.Log}
	if err := front.read(ctx); err != nil {
		return err
	}
	id := mesh.ID{TrustDomain: f.trustDomain, Namespace: f.vizNamespace, ServiceAccount: mesh.TapName}
	certs := f.certs(id, env)
	server := tapapi.New(f.config(client, front, certs, serving, env))
	lis, err := net.Listen("tcp", f.addr)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	env.Log.Info("serving", zap.Stringer("addr", lis.Addr()), zap.Stringer("identity", id))
	listening()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return certs.Run(ctx) })
	group.Go(func() error { await(ctx, certs.Ready(), certificate); return nil })
	group.Go(func() error { return front.run(ctx) })
	group.Go(func() error { return endsWith(ctx, serving.Run(ctx, announced)) })
	group.Go(func() error {
		return endsWith(ctx, serving.Watch(ctx, meta, servingcert.Object{
			Resource: servingcert.APIServices, Name: mesh.TapAPIService}))
	})
	group.Go(func() error { return server.Run(ctx, lis) })
	return group.Wait()
}

// endsWith returns nil for the error of a loop that ended with ctx.
func endsWith(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serving returns what keeps the certificate for the API server.
func (f *tapFlags) serving(config *rest.Config, client kubernetes.Interface, env *daemon.Env) (*servingcert.Manager,
	error) {
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make dynamic client: %w", err)
	}
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tulle_tap_api_certificate_failures_total",
		Help: "Failures to keep the certificate for the API server, and its authority in the APIService.",
	})
	expiry := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tulle_tap_api_certificate_expiration_timestamp_seconds",
		Help: "When the certificate that the API server meets expires, in seconds since 1970.",
	})
	env.Registry.MustRegister(failures, expiry)
	return servingcert.New(servingcert.Config{
		Client: client, Namespace: f.vizNamespace, Secret: mesh.TapSecret, Service: mesh.TapName,
		SecretLabels: map[string]string{mesh.ExtensionLabel: mesh.VizExtension, "component": mesh.TapName},
		Owner:        tapManager, Announce: servingcert.APIService(dyn, mesh.TapAPIService, tapManager),
		Failed: failures.Inc, Serving: func(expires time.Time) { expiry.Set(float64(expires.Unix())) },
		Now: time.Now, Log: env.Log.Named("serving"),
	}), nil
}

// certs returns the tap server's own certificate. Proxies accept its identity, not that of its sidecar.
func (f *tapFlags) certs(id mesh.ID, env *daemon.Env) *workload.Manager {
	addr := f.identityAddr
	if addr == "" {
		addr = fmt.Sprintf("%s.%s.svc.%s.:%d", mesh.IdentityName, f.namespace, f.clusterDomain, mesh.IdentityPort)
	}
	return workload.New(workload.Config{
		ID: id, Addr: addr, TokenFile: f.tokenFile, TrustRootsFile: f.trustRootsFile, Log: env.Log.Named("certs"),
		Server: mesh.ID{TrustDomain: f.trustDomain, Namespace: f.namespace, ServiceAccount: mesh.IdentityName},
	})
}

// config joins the API server, the proxies and the server of the API.
func (f *tapFlags) config(
	client kubernetes.Interface, front *frontProxy, certs *workload.Manager, serving *servingcert.Manager,
	env *daemon.Env,
) tapapi.Config {
	pods := func(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
		return tapPods(ctx, client, namespace, selector)
	}
	names := &podNames{client: client, log: env.Log}
	watcher := &tap.Watcher{Certs: certs, PodAt: names.at}
	return tapapi.Config{
		FrontProxy: front.current.Load, ID: certs.ID(), Log: env.Log, Registry: env.Registry, Pods: pods,
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: serving.Certificate},
		Review: func(ctx context.Context, spec authorizationv1.SubjectAccessReviewSpec) (
			authorizationv1.SubjectAccessReviewStatus, error,
		) {
			review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx,
				&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
			if err != nil {
				return authorizationv1.SubjectAccessReviewStatus{}, err
			}
			return review.Status, nil
		},
		Watch: func(ctx context.Context, targets []tap.Target, q tap.Query, emit func(tap.Message) error) error {
			return names.during(ctx, func() error { return watcher.Watch(ctx, targets, q, emit) })
		},
	}
}

// frontProxy is how to recognize the API server, as its ConfigMap says now.
type frontProxy struct {
	client  kubernetes.Interface
	log     *zap.Logger
	current atomic.Pointer[tapapi.FrontProxy] // never nil after the first read
}

// read reads the ConfigMap.
func (f *frontProxy) read(ctx context.Context) error {
	const namespace, name = "kube-system", "extension-apiserver-authentication"
	object, err := f.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read ConfigMap %s/%s: %w", namespace, name, err)
	}
	front, err := tapapi.ParseFrontProxy(object.Data)
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
	}
	f.current.Store(front)
	return nil
}

// run reads it again and again. The last valid value stays.
func (f *frontProxy) run(ctx context.Context) error {
	ticker := time.NewTicker(frontProxyInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := f.read(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("the last front-proxy settings stay", zap.Error(err))
		}
	}
}
