package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsclient"
	"github.com/tulle-mesh/tulle/viz/rights"
	"github.com/tulle-mesh/tulle/viz/web"
)

const (
	// namespacesFor is how long a list of the namespaces holds, for all viewers.
	namespacesFor = 10 * time.Second
	// viewerTimeout bounds one request to the API server for a viewer.
	viewerTimeout = 30 * time.Second
)

type webFlags struct {
	commonFlags

	vizNamespace, clusterDomain string
	metricsAPIURL               string
	externalURL                 string
	grafanaURL, traceURL        string
	impersonate                 string
	userHeader, groupsHeader    string
	groups                      []string
}

func webCommand() *cobra.Command {
	var f webFlags
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Serve the dashboard behind an ingress, with the rights of each viewer",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Run(f.daemon("web"), f.run)
		},
	}
	f.bind(cmd, mesh.WebPort, mesh.WebAdminPort)
	flags := cmd.Flags()
	flags.StringVar(&f.vizNamespace, "namespace", mesh.VizNamespace, "namespace of the viz extension")
	flags.StringVar(&f.clusterDomain, "cluster-domain", mesh.DefaultClusterDomain, "DNS domain of the cluster")
	flags.StringVar(&f.metricsAPIURL, "metrics-api-url", "", "URL of metrics-api (default its Service)")
	flags.StringVar(&f.externalURL, "external-url", "",
		"URL at which browsers reach the dashboard; requests for other hosts are refused")
	flags.StringVar(&f.grafanaURL, "grafana-url", "", "URL of a Grafana with Tulle's dashboards, for links")
	flags.StringVar(&f.traceURL, "trace-url", "", "URL to which a trace's ID is added, for links")
	flags.StringVar(&f.impersonate, "impersonation-client", "",
		`ServiceAccount, as namespace/name, whose headers name a viewer; "" is nobody's`)
	flags.StringVar(&f.userHeader, "impersonation-user-header", "X-Forwarded-User", "header with the name of the user")
	flags.StringVar(&f.groupsHeader, "impersonation-groups-header", "X-Forwarded-Groups", "header with the user's groups")
	flags.StringSliceVar(&f.groups, "impersonation-groups", nil, "groups that viewers may have; others are left out")
	return cmd
}

func (f *webFlags) run(ctx context.Context, env *daemon.Env) error {
	listening := env.Ready.Task("server")
	config, err := f.kubernetes("web", env)
	if err != nil {
		return err
	}
	cfg, err := f.config(env.Log)
	if err != nil {
		return err
	}
	metricsAPI := metricsclient.New(metricsclient.Config{URL: cmp.Or(f.metricsAPIURL,
		fmt.Sprintf("http://%s.%s.svc.%s:%d", mesh.MetricsAPIName, f.vizNamespace, f.clusterDomain, mesh.MetricsAPIPort))})
	shared := web.NewSharedSource(metricsAPI)
	defer shared.Close()
	authenticator, err := f.authenticator(config, shared, web.CacheHistory(metricsAPI.AskHistory))
	if err != nil {
		return err
	}
	cfg.Authenticate = authenticator.Viewer
	lis, err := net.Listen("tcp", f.addr)
	if err != nil {
		return fmt.Errorf("listen for browsers: %w", err)
	}
	env.Log.Info("serving", zap.Stringer("addr", lis.Addr()), zap.String("external_url", f.externalURL),
		zap.Bool("impersonation", f.impersonate != ""))
	listening()
	return web.New(cfg).Run(ctx, lis)
}

// config returns the part of the configuration that is the same for all viewers.
func (f *webFlags) config(log *zap.Logger) (web.Config, error) {
	external, err := url.Parse(f.externalURL)
	if err != nil || external.Host == "" || external.Scheme != "http" && external.Scheme != "https" {
		return web.Config{}, fmt.Errorf("--external-url %q: want a URL such as https://dashboard.example.com", f.externalURL)
	}
	host := strings.ToLower(external.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if external.Scheme == scheme { // browsers leave it out
			host = strings.TrimSuffix(host, port)
		}
	}
	cfg := web.Config{Hosts: []string{host}, Origin: external.Scheme + "://" + host, Log: log,
		AppConfig: func(context.Context) web.AppConfig {
			return web.AppConfig{Version: version, GrafanaURL: f.grafanaURL, TraceURL: f.traceURL}
		}}
	// An ingress may name the Service.
	for _, domain := range []string{"", ".svc", ".svc." + f.clusterDomain} {
		cfg.Hosts = append(cfg.Hosts, fmt.Sprintf("%s.%s%s:%d", mesh.WebName, f.vizNamespace, domain, mesh.WebPort))
	}
	return cfg, nil
}

// authenticator returns what finds the viewers of requests. A viewer's client has the viewer's token and no right of
// this process, or this process' own token and the name that it impersonates.
func (f *webFlags) authenticator(config *rest.Config, numbers metrics.Source, history rights.AskHistory) (
	*web.Authenticator, error) {
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make metadata client: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	settings := func(ctx context.Context) (model.Config, error) { return installed(ctx, client, f.namespace) }
	cfg := web.ClusterConfig{Settings: settings, Numbers: numbers, History: history,
		Namespaces: (&namespaceList{client: meta}).read, ControlNamespace: f.namespace, Version: version,
		Connect: func(c web.Credentials) (*cluster.Client, error) { return connectAs(config, c) }}
	if f.impersonate != "" {
		namespace, name, ok := strings.Cut(f.impersonate, "/")
		if !ok {
			return nil, fmt.Errorf("--impersonation-client %q: want a ServiceAccount as namespace/name", f.impersonate)
		}
		id := mesh.ID{TrustDomain: f.trustDomain, Namespace: namespace, ServiceAccount: name}
		cfg.Impersonation = &web.Impersonation{Client: id.String(), UserHeader: f.userHeader,
			GroupsHeader: f.groupsHeader, Groups: f.groups}
	}
	return web.NewAuthenticator(cfg), nil
}

// connectAs returns a client with a viewer's credentials.
func connectAs(config *rest.Config, c web.Credentials) (*cluster.Client, error) {
	if c.Token != "" {
		config = rest.AnonymousClientConfig(config) // without the credentials of this process
		config.BearerToken = c.Token
	} else {
		config = rest.CopyConfig(config)
		config.Impersonate = rest.ImpersonationConfig{UserName: c.User, Groups: c.Groups}
	}
	config.QPS, config.Timeout = -1, viewerTimeout
	return cluster.New(config)
}

// namespaceList is the namespaces of the cluster, read again when somebody asks and the list is old.
type namespaceList struct {
	client metadata.Interface

	mu   sync.Mutex // guards the fields below; held while the list is read, so that it is read once
	at   time.Time
	list []metav1.PartialObjectMetadata
}

func (n *namespaceList) read(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.at) < namespacesFor {
		return n.list, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cluster.LookTimeout)
	defer cancel()
	list, err := n.client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	n.list, n.at = list.Items, time.Now()
	return n.list, nil
}
