package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/mesh"
)

// Config of a Server. Log, Registry, TLS and Identify must be set; a zero limit is the default.
type Config struct {
	Log      *zap.Logger
	Registry prometheus.Registerer
	// TLS demands a certificate of the mesh from the peer, and Identify returns whose it is.
	TLS      *tls.Config
	Identify func(tls.ConnectionState) (mesh.ID, error)
	// HandshakeReason says in a word, for a metric's label, why a handshake failed; nil says "failed" of every one.
	HandshakeReason func(error) string

	// MaxWatches bounds the targets of one stream, and MaxStreams the streams of one pod: a proxy has one, and for a
	// moment a second when it reconnects.
	MaxWatches int // 20000
	MaxStreams int // 4
	// ValueRate bounds, in bytes a second, what one watch is sent of a value that keeps changing: ten thousand
	// endpoints are nearly two megabytes, and of a hundred changes a second each would cost every proxy that watches,
	// and its network, all of them. The first change is sent at once.
	ValueRate int // 2 MiB
	// MaxAge is when a connection is ended, give or take a tenth, so that proxies spread over new replicas.
	MaxAge time.Duration // 30 minutes
	// Connections bounds what may be connected. Where a cluster's network hides the pods of a node behind its address,
	// all of their proxies count for one.
	Connections connlimit.Bounds // 32768, and 512 of an address
	// IdleTimeout is how long a connection may be without a stream.
	IdleTimeout time.Duration // 30 seconds
	// HelloTimeout is how long a stream may take to say who it is.
	HelloTimeout time.Duration // 10 seconds
	// DrainTimeout is how long connections may take to end when the server does.
	DrainTimeout time.Duration // 5 seconds
}

func (c *Config) setDefaults() {
	if c.HandshakeReason == nil {
		c.HandshakeReason = func(error) string { return "failed" }
	}
	setDefault(&c.MaxWatches, 20000)
	setDefault(&c.MaxStreams, 4)
	setDefault(&c.ValueRate, 2<<20)
	setDefault(&c.MaxAge, 30*time.Minute)
	setDefault(&c.Connections, connlimit.Bounds{Total: 32768, PerAddress: 512})
	setDefault(&c.IdleTimeout, 30*time.Second)
	setDefault(&c.HelloTimeout, 10*time.Second)
	setDefault(&c.DrainTimeout, 5*time.Second)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server answers proxies.
type Server struct {
	pb.UnimplementedDiscoveryServer
	config  Config
	source  Source
	metrics *metrics
	// ending is closed when streams must end; receivers counts their goroutines.
	ending    chan struct{}
	receivers sync.WaitGroup

	mu      sync.Mutex // guards streams
	streams map[podName]int
}

type podName struct{ namespace, name string }

// New returns a Server of the source's values.
func New(c Config, source Source) *Server {
	c.setDefaults()
	return &Server{
		config: c, source: source, metrics: newMetrics(c.Registry), ending: make(chan struct{}), streams: map[podName]int{},
	}
}

// Run serves lis until ctx ends, then tells every proxy to go elsewhere and waits for their streams to end. It may be
// called once.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	server := grpc.NewServer(s.options()...)
	pb.RegisterDiscoveryServer(server, s)
	served := make(chan error, 1)
	bounded := connlimit.Bounded(lis, s.config.Connections,
		s.metrics.refusals.WithLabelValues(string(tooManyConnections)).Inc)
	go func() { served <- server.Serve(bounded) }()
	select {
	case err := <-served:
		close(s.ending)
		server.Stop()
		s.receivers.Wait()
		return fmt.Errorf("serve discovery: %w", err)
	case <-ctx.Done():
	}
	s.config.Log.Info("draining")
	close(s.ending)
	force := time.AfterFunc(s.config.DrainTimeout, server.Stop)
	server.GracefulStop()
	force.Stop()
	s.receivers.Wait()
	<-served
	return nil
}

// options bound what a peer can make the server hold: requests are a few bytes, and thousands of idle connections must
// be cheap.
func (s *Server) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(counted{credentials.NewTLS(s.config.TLS), s.handshakeFailed}),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(4 << 10),
		grpc.MaxHeaderListSize(8 << 10),
		grpc.MaxConcurrentStreams(uint32(s.config.MaxStreams)),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.ReadBufferSize(4 << 10),
		grpc.WriteBufferSize(16 << 10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: s.config.MaxAge, MaxConnectionAgeGrace: 5 * time.Second, MaxConnectionIdle: s.config.IdleTimeout,
			Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
	}
}

func (s *Server) handshakeFailed(from net.Addr, err error) {
	why := s.config.HandshakeReason(err)
	s.metrics.handshakes.WithLabelValues(why).Inc()
	s.config.Log.Debug("handshake failed", zap.String("reason", why), zap.Stringer("peer", from), zap.Error(err))
}

// Subscribe implements pb.DiscoveryServer.
func (s *Server) Subscribe(rpc grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) error {
	err := s.subscribe(rpc)
	if r := refusalOf(err); r != nil {
		s.metrics.refusals.WithLabelValues(string(r.reason)).Inc()
		s.config.Log.Warn("stream refused", zap.String("reason", string(r.reason)), zap.String("message", r.message),
			zap.Stringer("peer", peerAddr(rpc.Context())))
	}
	return err
}

func (s *Server) subscribe(rpc grpc.BidiStreamingServer[pb.SubscribeRequest, pb.SubscribeResponse]) error {
	id, err := s.peerID(rpc.Context())
	if err != nil {
		return err
	}
	st := newStream(s, rpc)
	s.receivers.Go(st.receive)
	hello, err := st.hello(s.config.HelloTimeout)
	if err != nil {
		return err
	}
	client, err := s.admit(rpc.Context(), id, hello)
	if err != nil {
		return err
	}
	release, err := s.acquire(podName{client.Namespace, client.Pod})
	if err != nil {
		return err
	}
	defer release()
	return st.serve(client)
}

func (s *Server) peerID(ctx context.Context) (mesh.ID, error) {
	p, _ := peer.FromContext(ctx)
	if p != nil {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			id, err := s.config.Identify(info.State)
			if err == nil && !id.IsZero() {
				return id, nil
			}
		}
	}
	return mesh.ID{}, refuse(noIdentity, codes.Unauthenticated, "the connection proves no identity of the mesh")
}

// admit holds what a proxy says of itself against what its certificate proves and what Kubernetes knows. The node comes
// from there too: what Hello says only shows whether the pod we know is the one that asks, or its predecessor of the
// same name.
func (s *Server) admit(ctx context.Context, id mesh.ID, hello *pb.Hello) (mesh.Client, error) {
	if hello.GetNamespace() != id.Namespace {
		return mesh.Client{}, refuse(wrongNamespace, codes.PermissionDenied, "%s asks as namespace %q", id,
			hello.GetNamespace())
	}
	node, account, err := s.source.Identify(ctx, hello.GetNamespace(), hello.GetPod())
	if errors.Is(err, ErrUnknownPod) || err == nil && hello.GetNode() != "" && hello.GetNode() != node {
		return mesh.Client{}, refuse(unknownPod, codes.Unavailable, "pod %s/%s on node %q is not known yet",
			hello.GetNamespace(), hello.GetPod(),
			hello.GetNode())
	}
	if err != nil {
		return mesh.Client{}, err
	}
	if account != id.ServiceAccount {
		return mesh.Client{}, refuse(wrongServiceAccount, codes.PermissionDenied, "%s asks as pod %s/%s, which runs as %q",
			id,
			hello.GetNamespace(), hello.GetPod(), account)
	}
	return mesh.Client{Namespace: hello.GetNamespace(), Pod: hello.GetPod(), Node: node}, nil
}

// acquire counts a stream of the pod until release.
func (s *Server) acquire(pod podName) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[pod] >= s.config.MaxStreams {
		return nil, refuse(tooManyStreams, codes.ResourceExhausted, "pod %s/%s has %d streams already", pod.namespace,
			pod.name,
			s.streams[pod])
	}
	s.streams[pod]++
	s.metrics.streams.Inc()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.metrics.streams.Dec()
		if s.streams[pod]--; s.streams[pod] == 0 {
			delete(s.streams, pod)
		}
	}, nil
}

func peerAddr(ctx context.Context) net.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr
	}
	return &net.TCPAddr{}
}
