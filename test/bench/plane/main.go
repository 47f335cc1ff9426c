// Command plane is what surrounds a pair of Tulle's proxies in a cluster, for the benchmark of one Service with many
// endpoints: identity and destination with their real APIs over mutual TLS, and the capture of the pod's traffic. The
// server of discovery is the controller's own; what it serves comes from this program in place of Kubernetes, and
// changes as POST /endpoints?count=N and POST /changes?rate=N (a second) of -control say; GET /changes is how many were
// made.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
)

// config is the command line.
type config struct {
	files
	client, server                 string // SPIFFE IDs
	service                        string
	identity, destination, control string
	address                        string
	outboundPort, endpointPort     uint
	endpoints                      int
}

// files of the bench's certificate authority, and the client's token.
type files struct{ roots, issuer, issuerKey, token string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, readConfig()); err != nil {
		fmt.Fprintln(os.Stderr, "plane:", err)
		os.Exit(1)
	}
}

func readConfig() config {
	var c config
	flag.StringVar(&c.roots, "roots", "", "trust anchors, PEM")
	flag.StringVar(&c.issuer, "issuer", "", "issuer's certificate, PEM")
	flag.StringVar(&c.issuerKey, "issuer-key", "", "issuer's key, PEM")
	flag.StringVar(&c.token, "token", "", "file with the client's token")
	flag.StringVar(&c.client, "client", "", "SPIFFE ID of the client, whose pod is named like its ServiceAccount")
	flag.StringVar(&c.server, "server", "", "SPIFFE ID of the endpoints")
	flag.StringVar(&c.service, "service", "", "address of the Service")
	flag.StringVar(&c.identity, "identity", "", "where identity listens")
	flag.StringVar(&c.destination, "destination", "", "where destination listens")
	flag.StringVar(&c.control, "control", "", "where commands are taken")
	flag.StringVar(&c.address, "address", "", "the pod's address, with its prefix")
	flag.UintVar(&c.outboundPort, "outbound-port", mesh.OutboundPort, "port of the client's proxy")
	flag.UintVar(&c.endpointPort, "endpoint-port", 0, "port of the endpoints, which are addresses from 127.1.0.0 on")
	flag.IntVar(&c.endpoints, "endpoints", 1, "how many there are at first")
	flag.Parse()
	return c
}

func run(ctx context.Context, c config) (err error) {
	// 1. Who is there.
	client, err := mesh.ParseID(c.client)
	if err != nil {
		return fmt.Errorf("read -client: %w", err)
	}
	server, err := mesh.ParseID(c.server)
	if err != nil {
		return fmt.Errorf("read -server: %w", err)
	}
	service, err := netip.ParseAddrPort(c.service)
	if err != nil {
		return fmt.Errorf("read -service: %w", err)
	}
	authority, err := loadAuthority(c.files, client)
	if err != nil {
		return err
	}
	cluster := newCluster(client, server, service, uint16(c.endpointPort))
	if err := cluster.resize(c.endpoints); err != nil {
		return err
	}

	// 2. The pod.
	leave, err := enterPod(c.address, uint16(c.outboundPort))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()

	// 3. Serve.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveIdentity(ctx, c.identity, authority) })
	group.Go(func() error { return serveDiscovery(ctx, c.destination, authority, cluster) })
	group.Go(func() error { return serveControl(ctx, c.control, cluster) })
	group.Go(func() error { return cluster.run(ctx) })
	return group.Wait()
}

func controlID(name string) mesh.ID {
	return mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: mesh.ControlPlaneNamespace, ServiceAccount: name}
}

func serveIdentity(ctx context.Context, addr string, a *authority) error {
	cert, err := a.issue(controlID(mesh.IdentityName))
	if err != nil {
		return err
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("serve identity: %w", err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert},
		MinVersion: tls.VersionTLS13})))
	pb.RegisterIdentityServer(server, a)
	defer context.AfterFunc(ctx, server.Stop)()
	if err := server.Serve(lis); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve identity: %w", err)
	}
	return nil
}

func serveDiscovery(ctx context.Context, addr string, a *authority, c *cluster) error {
	cert, err := a.issue(controlID(mesh.DestinationName))
	if err != nil {
		return err
	}
	own, err := workload.Static(cert, a.roots)
	if err != nil {
		return err
	}
	log, err := zap.NewProduction()
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("serve discovery: %w", err)
	}
	return discovery.New(discovery.Config{
		Log: log, Registry: prometheus.NewRegistry(), TLS: own.ServerTLS("h2"), Identify: workload.PeerID,
	}, c).Run(ctx, lis)
}

// serveControl takes the bench's commands.
func serveControl(ctx context.Context, addr string, c *cluster) error {
	mux := http.NewServeMux()
	command := func(path, name string, do func(context.Context, int) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.FormValue(name))
			if err == nil {
				err = do(r.Context(), n)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	command("/endpoints", "count", func(_ context.Context, n int) error { return c.resize(n) })
	command("/changes", "rate", c.pace)
	mux.HandleFunc("GET /changes", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.changes()) })
	server := &http.Server{Addr: addr, Handler: mux}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("take commands: %w", err)
	}
	return nil
}
