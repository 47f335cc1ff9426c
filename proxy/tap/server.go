package tap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/mesh"
)

// ActiveHeader is in the header of a response to Watch once the subscription is active.
const ActiveHeader = "tulle-tap-active"

// flushAfter is how long an event waits for others to travel with, unless many wait already. A message costs the proxy
// two wake-ups and a write, which the requests of that moment wait for. Nobody sees a delay of this length.
const flushAfter = 50 * time.Millisecond

// reportEvery is how often a subscriber that gets no event learns what it missed.
const reportEvery = time.Second

// Bounds of the connections to the control port, where anybody who reaches the pod may come.
const (
	// handshakeTimeout is how long a connection may take until the client is known.
	handshakeTimeout = 5 * time.Second
	// idleTimeout is how long the tap server may keep a connection without a subscription.
	idleTimeout = 10 * time.Second
)

// places bounds the connections. Until a handshake has shown that the client is the tap server, the oldest of the
// busiest address gives way, so that strangers cannot keep out the tap server, which comes with few. Its own
// connections have further places.
var places = connlimit.Bounds{Total: 64, PerAddress: 16, Evict: true, Known: 2 * maxSubscriptions}

// ServerConfig is what a Server is made from.
type ServerConfig struct {
	Hub   *Hub
	Certs *workload.Manager
	// Client is the SPIFFE ID of the only workload that may watch.
	Client string
	Log    *zap.Logger
}

// Server shows the events of a Hub to the tap server, over mesh TLS.
type Server struct {
	pb.UnimplementedTapServer
	cfg    ServerConfig
	client mesh.ID
	lis    net.Listener

	refused atomic.Uint64
}

// NewServer returns a Server; call Listen and then Run.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Certs == nil {
		return nil, errors.New("tap needs a certificate")
	}
	client, err := mesh.ParseID(cfg.Client)
	if err != nil {
		return nil, fmt.Errorf("read tapID: %w", err)
	}
	return &Server{cfg: cfg, client: client}, nil
}

// Refused returns how many connections and subscriptions were refused: there were too many, or the client was not the
// tap server.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Listen binds the address.
func (s *Server) Listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen tap: %w", err)
	}
	s.lis = connlimit.Bounded(l, places, func() { s.refused.Add(1) })
	return nil
}

// Addr returns where the Server listens.
func (s *Server) Addr() netip.AddrPort {
	a := s.lis.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	server := grpc.NewServer(
		grpc.Creds(&admission{credentials.NewTLS(s.tls()), s}),
		grpc.MaxRecvMsgSize(8<<10),
		grpc.MaxHeaderListSize(8<<10),
		grpc.MaxConcurrentStreams(maxSubscriptions),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.ReadBufferSize(4<<10),
		grpc.WriteBufferSize(16<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: idleTimeout, Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
		grpc.WaitForHandlers(true),
	)
	pb.RegisterTapServer(server, s)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(s.lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve tap: %w", err)
	}
	server.Stop() // waits for the subscriptions
	return ctx.Err()
}

// tls accepts mesh TLS of the tap server only: any other workload's handshake fails.
func (s *Server) tls() *tls.Config {
	cfg := s.cfg.Certs.ServerTLS("h2")
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verify(cs); err != nil {
			return err
		}
		id, err := workload.PeerID(cs)
		if err == nil && id != s.client {
			err = &workload.PeerError{
				Self: s.cfg.Certs.ID(), Peer: id, Want: s.client, Reason: workload.WrongIdentity,
			}
		}
		return err
	}
	return cfg
}

// Watch implements pb.TapServer.
func (s *Server) Watch(q *pb.TapQuery, rpc grpc.ServerStreamingServer[pb.TapEvents]) error {
	query, err := api.DecodeTapQuery(q)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if name := s.cfg.Hub.hiddenValue(query.PathPrefix); name != "" {
		return status.Errorf(codes.InvalidArgument,
			"the beginning of the path has a value of the query parameter %q, which this proxy does not show", name)
	}
	chain, err := peerChain(rpc.Context())
	if err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	sub := s.cfg.Hub.subscribe(query)
	if sub == nil {
		s.refused.Add(1)
		return status.Errorf(codes.ResourceExhausted, "this proxy has %d subscriptions already", maxSubscriptions)
	}
	defer s.cfg.Hub.unsubscribe(sub)
	s.cfg.Log.Info("tap began", zap.Stringer("direction", query.Direction), zap.Uint32("perSecond", query.PerSecond))
	defer s.cfg.Log.Info("tap ended")
	if err := rpc.SendHeader(metadata.Pairs(ActiveHeader, "true")); err != nil {
		return err
	}
	return s.stream(sub, chain, rpc)
}

// stream sends what the subscription gets until the client goes, or its certificate is no longer accepted.
func (s *Server) stream(
	sub *subscription, chain []*x509.Certificate, rpc grpc.ServerStreamingServer[pb.TapEvents],
) error {
	ticker, flush := time.NewTicker(reportEvery), time.NewTimer(flushAfter)
	defer ticker.Stop()
	defer flush.Stop()
	var spare backlog
	for {
		select {
		case <-rpc.Context().Done():
			return status.FromContextError(rpc.Context().Err()).Err()
		case <-sub.queue.wake:
			flush.Reset(flushAfter)
			select {
			case <-flush.C:
			case <-sub.queue.full:
			case <-rpc.Context().Done():
			}
		case now := <-ticker.C:
			anchors, _ := s.cfg.Certs.Anchors()
			if _, reason := anchors.Vouch(chain, x509.ExtKeyUsageClientAuth, now); reason != "" {
				return status.Errorf(codes.Unauthenticated, "the certificate of the client is no longer accepted: %s", reason)
			}
		}
		spare = sub.queue.take(spare)
		if err := sub.send(&spare, rpc); err != nil {
			return err
		}
	}
}

// send sends what was taken from the queue, and what the subscriber missed, if there is any of it.
func (s *subscription) send(taken *backlog, rpc grpc.ServerStreamingServer[pb.TapEvents]) error {
	for {
		encoded, events := taken.message()
		out := &pb.TapEvents{Lost: s.lost.Swap(0), Skipped: s.skipped.Swap(0)}
		if events == 0 && out.Lost == 0 && out.Skipped == 0 {
			return nil
		}
		// Marshal appends the bytes of unknown fields as they are. Here these are the field events, which is encoded already.
		out.ProtoReflect().SetUnknown(encoded)
		if err := rpc.Send(out); err != nil {
			return err
		}
		s.queue.sent(events, len(encoded))
	}
}

// peerChain returns the certificates of the client.
func peerChain(ctx context.Context) ([]*x509.Certificate, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("the connection has no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, errors.New("the client has no certificate")
	}
	return info.State.PeerCertificates, nil
}

// admission are credentials that give the connections of a known client their places, and report every handshake that
// fails; gRPC itself only closes the connection.
type admission struct {
	credentials.TransportCredentials
	server *Server
}

// ServerHandshake implements credentials.TransportCredentials.
func (a *admission) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := a.TransportCredentials.ServerHandshake(raw)
	if err == nil && !connlimit.Admit(raw) {
		err = errors.Join(fmt.Errorf("the tap server has %d connections already", places.Known), conn.Close())
	}
	if err != nil {
		a.server.refused.Add(1)
		a.server.cfg.Log.Debug("tap client refused", zap.Stringer("client", raw.RemoteAddr()), zap.Error(err))
		return nil, nil, err
	}
	return conn, info, nil
}

// Clone implements credentials.TransportCredentials.
func (a *admission) Clone() credentials.TransportCredentials {
	return &admission{a.TransportCredentials.Clone(), a.server}
}
