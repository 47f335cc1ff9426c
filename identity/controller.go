package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/internal/leader"
	"github.com/tulle-mesh/tulle/mesh"
)

// maxRequestBytes bounds a request. It is enough for any token and any accepted type of key.
const maxRequestBytes = 16 << 10

// drainTimeout is how long open calls may take after the controller has been stopped.
const drainTimeout = 5 * time.Second

// connections bounds open connections: a proxy connects for a moment, twice a day.
var connections = connlimit.Bounds{Total: 4096, PerAddress: 64}

// lifetimes bound how long a connection lasts. The grace ends calls whose request never becomes complete.
var lifetimes = keepalive.ServerParameters{
	MaxConnectionIdle: 30 * time.Second, MaxConnectionAge: 5 * time.Minute, MaxConnectionAgeGrace: 10 * time.Second,
	Time: 30 * time.Second, Timeout: 10 * time.Second,
}

// Config configures an identity controller.
type Config struct {
	Client   kubernetes.Interface
	Listener net.Listener // serves Certify; closed by Run
	// Namespace is the control plane's namespace; Replica is the name of this pod.
	Namespace   string
	Replica     string
	TrustDomain string
	Profile     ca.Profile
	// ExternalIssuer means that another program writes the issuer Secret. ExternalRoots means that another program
	// writes the bundle in Namespace.
	ExternalIssuer bool
	ExternalRoots  bool
	Limits         Limits
	Log            *zap.Logger
	Registry       prometheus.Registerer

	keepalive keepalive.ServerParameters // the zero value means lifetimes
}

// Controller is one replica of the identity controller.
type Controller struct {
	cfg       Config
	authority latest.Cell[*Authority]
	metrics   *metrics
	serving   *serving
	server    *Server
	listener  net.Listener
}

// New checks the configuration and registers the metrics. It uses neither the network nor the cluster.
func New(cfg Config) (*Controller, error) {
	if err := cfg.Profile.Validate(); err != nil {
		return nil, err
	}
	id := mesh.ID{TrustDomain: cfg.TrustDomain, Namespace: cfg.Namespace, ServiceAccount: mesh.IdentityName}
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("identity of the controller: %w", err)
	}
	if cfg.Replica == "" {
		return nil, errors.New("the replica has no name to be elected by")
	}
	if cfg.keepalive == (keepalive.ServerParameters{}) {
		cfg.keepalive = lifetimes
	}
	c := &Controller{cfg: cfg}
	c.metrics = newMetrics(cfg.Registry, &c.authority)
	c.listener = connlimit.Bounded(cfg.Listener, connections, c.metrics.refusals.WithLabelValues(reasonConnections).Inc)
	c.serving = &serving{id: id, authority: &c.authority, log: cfg.Log.Named("serving"), ready: make(chan struct{})}
	reviewer := &TokenReview{Client: cfg.Client, TrustDomain: cfg.TrustDomain}
	c.server = newServer(&c.authority, reviewer, cfg.Limits, cfg.Log.Named("certify"), c.metrics)
	return c, nil
}

// Ready is closed when the first certificate can be issued.
func (c *Controller) Ready() <-chan struct{} { return c.serving.ready }

// Run follows the cluster's issuer and trust anchors and serves Certify. While this replica is the leader, Run also
// does the leader's work. It ends when ctx ends or a part fails.
func (c *Controller) Run(ctx context.Context) error {
	cfg := c.cfg
	events, end := newAnnouncer(ctx, cfg.Client, cfg.Namespace, c.metrics, cfg.Log)
	defer end()
	wake := latest.NewSignal()
	follow := &follower{
		client: cfg.Client, namespace: cfg.Namespace, profile: cfg.Profile, authority: &c.authority,
		changed: wake.Notify, announce: events.announce, log: cfg.Log,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return follow.Run(ctx) })
	group.Go(func() error { return c.serving.Run(ctx) })
	group.Go(func() error { return c.serve(ctx) })
	group.Go(func() error {
		election := leader.Config{Client: cfg.Client, Namespace: cfg.Namespace, Name: mesh.IdentityName, Replica: cfg.Replica}
		return leader.Run(ctx, election, func(ctx context.Context) error { return c.leader(ctx, wake, events.announce) })
	})
	return group.Wait()
}

// leader does the leader's work.
func (c *Controller) leader(ctx context.Context, wake latest.Signal, announce func(notice)) error {
	cfg := c.cfg
	cfg.Log.Info("leading")
	c.metrics.leader.Set(1)
	defer c.metrics.leader.Set(0)
	defer c.metrics.missing.Set(0)
	rec := &reconciler{
		client: cfg.Client, namespace: cfg.Namespace, trustDomain: cfg.TrustDomain,
		own:       ownership{externalIssuer: cfg.ExternalIssuer, externalRoots: cfg.ExternalRoots},
		authority: &c.authority, wake: wake, announce: announce, missing: c.metrics.missing, log: cfg.Log.Named("reconciler"),
	}
	publish := &publisher{
		client: cfg.Client, namespace: cfg.Namespace, authority: &c.authority, metrics: c.metrics,
		log: cfg.Log.Named("publisher"),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return rec.Run(ctx) })
	if !cfg.ExternalIssuer {
		group.Go(func() error { return watchAnchor(ctx, cfg.Client, cfg.Namespace, wake.Notify) })
	}
	group.Go(func() error { return publish.Run(ctx) })
	return group.Wait()
}

// serve serves Certify as soon as the server has a certificate of its own.
func (c *Controller) serve(ctx context.Context) error {
	select {
	case <-c.serving.ready:
	case <-ctx.Done():
		_ = c.listener.Close()
		return ctx.Err()
	}
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(c.serving.tlsConfig())),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxHeaderListSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(8),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.ReadBufferSize(4<<10),
		grpc.WriteBufferSize(4<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Minute}),
		grpc.KeepaliveParams(c.cfg.keepalive),
	)
	pb.RegisterIdentityServer(server, c.server)
	stop := context.AfterFunc(ctx, func() {
		force := time.AfterFunc(drainTimeout, server.Stop)
		defer force.Stop()
		server.GracefulStop()
	})
	defer stop()
	if err := server.Serve(c.listener); err != nil {
		return fmt.Errorf("serve certify requests: %w", err)
	}
	return ctx.Err()
}
