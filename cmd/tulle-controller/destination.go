package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/controller"
	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/controller/status"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
)

// defaultClusterNetworks are the private networks, where clusters have their pods.
const defaultClusterNetworks = "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8"

// eventCapacity lets informers go on while the loop handles a batch; the informers keep what is beyond.
const eventCapacity = 1024

type destinationFlags struct {
	commonFlags

	clusterDomain   string
	clusterNetworks string
	inboundPolicy   string
	opaquePorts     string

	identityAddr   string
	tokenFile      string
	trustRootsFile string
}

func destinationCommand() *cobra.Command {
	var f destinationFlags
	cmd := &cobra.Command{
		Use:   "destination",
		Short: "Tell proxies where traffic goes and who may come in",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Run(f.daemon("destination"), f.run)
		},
	}
	f.bind(cmd, mesh.DestinationPort, mesh.DestinationAdminPort)
	flags := cmd.Flags()
	flags.StringVar(&f.clusterDomain, "cluster-domain", mesh.DefaultClusterDomain, "DNS domain of the cluster")
	flags.StringVar(&f.clusterNetworks, "cluster-networks", defaultClusterNetworks,
		"networks, separated by commas, that the cluster-* access policies call the cluster")
	flags.StringVar(&f.inboundPolicy, "default-inbound-policy", string(mesh.AllUnauthenticated),
		"access policy of pods and namespaces that name none")
	flags.StringVar(&f.opaquePorts, "default-opaque-ports", mesh.DefaultOpaquePorts,
		"ports and ranges that carry TCP without detection where nothing else is said")
	flags.StringVar(&f.identityAddr, "identity-addr", "", "host:port of the identity controller (default its Service)")
	flags.StringVar(&f.tokenFile, "token-file", "/var/run/secrets/tulle/token",
		"ServiceAccount token for the identity controller")
	flags.StringVar(&f.trustRootsFile, "trust-roots-file", "/var/run/tulle/trust-roots/"+mesh.TrustRootsKey,
		"trust anchors, PEM")
	return cmd
}

// model returns what the flags say about the cluster, or an error that names the flag.
func (f *destinationFlags) model() (model.Config, error) {
	c := model.Config{TrustDomain: f.trustDomain, ClusterDomain: f.clusterDomain, ControlPlaneNamespace: f.namespace}
	for text := range strings.SplitSeq(f.clusterNetworks, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil || network.Addr().Is4In6() {
			return model.Config{}, fmt.Errorf("--cluster-networks: %q is not a network such as 10.0.0.0/8", text)
		}
		c.ClusterNetworks = append(c.ClusterNetworks, network.Masked())
	}
	var err error
	if c.DefaultPolicy, err = mesh.ParseAccessPolicy(f.inboundPolicy); err != nil {
		return model.Config{}, fmt.Errorf("--default-inbound-policy: %w", err)
	}
	if c.DefaultOpaquePorts, err = mesh.ParsePortSet(f.opaquePorts, nil); err != nil {
		return model.Config{}, fmt.Errorf("--default-opaque-ports: %w", err)
	}
	if id := f.id(mesh.DestinationName); id.Validate() != nil {
		return model.Config{}, fmt.Errorf("--trust-domain, --controller-namespace: %w", id.Validate())
	}
	return c, nil
}

func (f *destinationFlags) id(serviceAccount string) mesh.ID {
	return mesh.ID{TrustDomain: f.trustDomain, Namespace: f.namespace, ServiceAccount: serviceAccount}
}

func (f *destinationFlags) run(ctx context.Context, env *daemon.Env) error {
	restConfig, err := f.kubernetes("destination", env)
	if err != nil {
		return err
	}
	clients, err := kube.NewClients(restConfig)
	if err != nil {
		return err
	}
	addr := f.identityAddr
	if addr == "" {
		addr = fmt.Sprintf("%s.%s.svc.%s.:%d", mesh.IdentityName, f.namespace, f.clusterDomain, mesh.IdentityPort)
	}
	manager := workload.New(workload.Config{
		ID: f.id(mesh.DestinationName), Addr: addr, Server: f.id(mesh.IdentityName),
		TokenFile: f.tokenFile, TrustRootsFile: f.trustRootsFile, Log: env.Log.Named("certs"),
	})
	addTrustMetrics(env.Registry, manager)
	return f.serve(ctx, env, clients, manager)
}

// serve joins the parts: watches feed the loop, and the loop feeds the server and the writer of statuses. The server
// accepts proxies when it has answers and a certificate; until then it refuses connections, so that they try another
// replica.
func (f *destinationFlags) serve(ctx context.Context, env *daemon.Env, clients kube.Clients,
	manager *workload.Manager) error {
	caches, certificate, listening := env.Ready.Task("caches"), env.Ready.Task("certificate"), env.Ready.Task("server")
	modelConfig, err := f.model()
	if err != nil {
		return err
	}
	replica, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name the replica: %w", err)
	}
	kubeConfig := kube.Config{Log: env.Log.Named("kube"), Registry: env.Registry, Clients: clients}
	recorder := kube.NewRecorder(kubeConfig)
	watcher := kube.NewWatcher(kubeConfig, recorder)
	statuses := status.NewWriter(kubeConfig, watcher, f.namespace, replica)
	events := make(chan model.Event, eventCapacity)
	loop := controller.New(controller.Config{
		Log: env.Log.Named("controller"), Registry: env.Registry, Model: modelConfig, Events: events, Problems: recorder,
		Outcomes: statuses,
	})
	server := discovery.New(discovery.Config{
		Log: env.Log.Named("discovery"), Registry: env.Registry, TLS: manager.ServerTLS("h2"), Identify: workload.PeerID,
		HandshakeReason: handshakeReason,
	}, loop)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error { return recorder.Run(ctx) })
	group.Go(func() error { return watcher.Run(ctx, events) })
	group.Go(func() error { return statuses.Run(ctx) })
	group.Go(func() error { return loop.Run(ctx) })
	group.Go(func() error {
		if !await(ctx, loop.Synced(), caches) || !await(ctx, manager.Ready(), certificate) {
			return nil
		}
		lis, err := net.Listen("tcp", f.addr)
		if err != nil {
			return fmt.Errorf("listen for proxies: %w", err)
		}
		env.Log.Info("serving", zap.Stringer("addr", lis.Addr()), zap.Stringer("identity", manager.ID()),
			zap.String("clusterDomain", modelConfig.ClusterDomain),
			zap.Stringers("clusterNetworks", modelConfig.ClusterNetworks),
			zap.String("defaultInboundPolicy", string(modelConfig.DefaultPolicy)),
			zap.Stringer("defaultOpaquePorts", modelConfig.DefaultOpaquePorts))
		listening()
		return server.Run(ctx, lis)
	})
	return group.Wait()
}

func handshakeReason(err error) string {
	var peer *workload.PeerError
	switch {
	case errors.As(err, &peer):
		return string(peer.Reason)
	case errors.Is(err, workload.ErrNoCertificate):
		return "no_certificate"
	default:
		return "tls"
	}
}

// await calls done when ch is closed; it returns false if ctx ends first.
func await(ctx context.Context, ch <-chan struct{}, done func()) bool {
	select {
	case <-ch:
		done()
		return true
	case <-ctx.Done():
		return false
	}
}

// addTrustMetrics adds the metrics that `tulle identity rotate` compares, as proxies have them.
func addTrustMetrics(r prometheus.Registerer, manager *workload.Manager) {
	add := func(name, help string, value func(workload.Status) uint64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(manager.Status())) }))
	}
	add("tulle_trust_roots_hash", "A number for the set of trust anchors with which peers are verified.",
		func(s workload.Status) uint64 { return s.RootsHash })
	add("tulle_identity_issuer_hash", "A number for the issuer that signed the active certificate.",
		func(s workload.Status) uint64 { return s.IssuerHash })
}
