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

// batchEvents bounds the events of one message.
const batchEvents = 64

// reportEvery is how often a subscriber that gets no event learns what it missed.
const reportEvery = time.Second

// connections bounds the connections to the control port, where anybody who reaches the pod may come. An open
// subscription stays; others wait at most for the handshake's bound.
var connections = connlimit.Bounds{Total: 64, PerAddress: 16}

// ServerConfig is what a Server is made from.
type ServerConfig struct {
	Hub   *Hub
	Certs *workload.Manager
	// Client is the only identity that may watch.
	Client mesh.ID
	Log    *zap.Logger
}

// Server shows the events of a Hub to the tap server, over mesh TLS.
type Server struct {
	pb.UnimplementedTapServer
	cfg ServerConfig
	lis net.Listener

	refused atomic.Uint64
}

// NewServer returns a Server; call Listen and then Run.
func NewServer(cfg ServerConfig) *Server { return &Server{cfg: cfg} }

// Refused returns how many connections and subscriptions were refused: there were too many, or the client was not the
// tap server.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Listen binds the address.
func (s *Server) Listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen tap: %w", err)
	}
	s.lis = connlimit.Bounded(l, connections, func() { s.refused.Add(1) })
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
		grpc.Creds(&reported{credentials.NewTLS(s.tls()), s.handshakeFailed}),
		grpc.MaxRecvMsgSize(8<<10),
		grpc.MaxHeaderListSize(8<<10),
		grpc.MaxConcurrentStreams(maxSubscriptions),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.ReadBufferSize(4<<10),
		grpc.WriteBufferSize(16<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: time.Minute, Time: 30 * time.Second, Timeout: 10 * time.Second,
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
		if err == nil && id != s.cfg.Client {
			err = &workload.PeerError{
				Self: s.cfg.Certs.ID(), Peer: id, Want: s.cfg.Client, Reason: workload.WrongIdentity,
			}
		}
		return err
	}
	return cfg
}

func (s *Server) handshakeFailed(from net.Addr, err error) {
	s.refused.Add(1)
	s.cfg.Log.Debug("tap client refused", zap.Stringer("client", from), zap.Error(err))
}

// Watch implements pb.TapServer.
func (s *Server) Watch(q *pb.TapQuery, rpc grpc.ServerStreamingServer[pb.TapEvents]) error {
	query, err := api.DecodeTapQuery(q)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
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
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		out := &pb.TapEvents{}
		select {
		case <-rpc.Context().Done():
			return status.FromContextError(rpc.Context().Err()).Err()
		case e := <-sub.queue:
			sub.batch(e, out)
		case now := <-ticker.C:
			anchors, _ := s.cfg.Certs.Anchors()
			if _, reason := anchors.Vouch(chain, x509.ExtKeyUsageClientAuth, now); reason != "" {
				return status.Errorf(codes.Unauthenticated, "the certificate of the client is no longer accepted: %s", reason)
			}
		}
		out.Lost, out.Skipped = sub.lost.Swap(0), sub.skipped.Swap(0)
		if len(out.Events) == 0 && out.Lost == 0 && out.Skipped == 0 {
			continue
		}
		if err := rpc.Send(out); err != nil {
			return err
		}
	}
}

// batch encodes an event and those that wait behind it.
func (s *subscription) batch(e *mesh.TapEvent, out *pb.TapEvents) {
	for {
		s.received(e)
		out.Events = append(out.Events, api.EncodeTapEvent(e, s.query.Headers))
		if len(out.Events) == batchEvents {
			return
		}
		select {
		case e = <-s.queue:
		default:
			return
		}
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

// reported are credentials that report every handshake that fails; gRPC itself only closes the connection.
type reported struct {
	credentials.TransportCredentials
	failed func(net.Addr, error)
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *reported) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		c.failed(raw.RemoteAddr(), err)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (c *reported) Clone() credentials.TransportCredentials {
	return &reported{c.TransportCredentials.Clone(), c.failed}
}
