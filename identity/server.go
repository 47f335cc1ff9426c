package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

const (
	// maxWait is how long a request waits while too many are in progress.
	maxWait = time.Second
	// reviewTimeout bounds the request to the API server. Proxies give up after ten seconds.
	reviewTimeout = 8 * time.Second
)

// Server serves Certify. Its methods may be called by several goroutines.
type Server struct {
	pb.UnimplementedIdentityServer

	authority *latest.Cell[*Authority]
	reviewer  Reviewer
	log       *zap.Logger
	metrics   *metrics

	byAddress  *keyedLimiter[netip.Addr]
	byIdentity *keyedLimiter[mesh.ID]
	global     *rate.Limiter
	inFlight   chan struct{} // has one value for each request in progress
}

func newServer(authority *latest.Cell[*Authority], reviewer Reviewer, limits Limits, log *zap.Logger,
	m *metrics) *Server {
	return &Server{
		authority:  authority,
		reviewer:   newReviewCache(reviewer),
		log:        log,
		metrics:    m,
		byAddress:  newKeyedLimiter[netip.Addr](limits.Address),
		byIdentity: newKeyedLimiter[mesh.ID](limits.Identity),
		global:     rate.NewLimiter(rate.Limit(limits.Global.PerSecond), limits.Global.Burst),
		inFlight:   make(chan struct{}, limits.InFlight),
	}
}

// Certify implements pb.IdentityServer; api/identity.proto lists its errors.
func (s *Server) Certify(ctx context.Context, req *pb.CertifyRequest) (*pb.CertifyResponse, error) {
	addr := peerAddr(ctx)
	resp, err := s.certify(ctx, req, addr)
	if err != nil {
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			refusal = refuse(codes.Internal, reasonIssue, "%w", err)
		}
		s.metrics.refusals.WithLabelValues(refusal.Reason).Inc()
		line := s.log.Warn
		if refusal.Code == codes.ResourceExhausted {
			line = s.log.Debug // a flood of requests must not flood the log; the counter shows it
		}
		line("denied certificate", zap.String("reason", refusal.Reason), zap.Error(refusal.Err),
			zap.Stringer("client", addr))
		return nil, refusal
	}
	s.metrics.issued.Inc()
	return resp, nil
}

func (s *Server) certify(ctx context.Context, req *pb.CertifyRequest, addr netip.Addr) (*pb.CertifyResponse, error) {
	if !s.byAddress.allow(addr, time.Now()) {
		return nil, refuse(codes.ResourceExhausted, reasonAddressLimit, "too many requests from %s", addr)
	}
	done, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	caller, err := s.review(ctx, req.GetToken())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if !s.byIdentity.allow(caller.ID, now) {
		return nil, refuse(codes.ResourceExhausted, reasonIdentityLimit, "too many requests of %s", caller.ID)
	}
	if !s.global.AllowN(now, 1) {
		return nil, refuse(codes.ResourceExhausted, reasonGlobalLimit, "too many requests of all workloads together")
	}
	return s.issue(req.GetCsr(), caller, addr, now)
}

// enter waits until one more request may be in progress.
func (s *Server) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case s.inFlight <- struct{}{}:
		return func() { <-s.inFlight }, nil
	case <-ctx.Done():
		return nil, refuse(codes.ResourceExhausted, reasonBusy, "%d requests are in work", cap(s.inFlight))
	}
}

func (s *Server) review(ctx context.Context, token string) (Caller, error) {
	if token == "" {
		return Caller{}, refuse(codes.Unauthenticated, reasonTokenMissing, "the request has no token")
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	return s.reviewer.Review(ctx, token)
}

func (s *Server) issue(csr []byte, caller Caller, addr netip.Addr, now time.Time) (*pb.CertifyResponse, error) {
	authority, seq := s.authority.Load()
	if seq == 0 {
		return nil, refuse(codes.Unavailable, reasonIssuerMissing, "there is no issuer yet")
	}
	token, err := authority.Issuer.Prepare(csr, caller.ID, now)
	switch {
	case errors.Is(err, ca.ErrRequest):
		return nil, refuse(codes.InvalidArgument, reasonRequest, "%w", err)
	case errors.Is(err, ca.ErrForeignName):
		return nil, refuse(codes.FailedPrecondition, reasonForeignName, "%w", err)
	case errors.Is(err, ca.ErrIssuerExpired):
		return nil, refuse(codes.Unavailable, reasonIssuerExpired, "%w", err)
	case err != nil:
		return nil, err
	}
	// Write the audit line first: no signature may exist without a record.
	s.log.Info("certificate issued", zap.Stringer("id", caller.ID), zap.String("pod", caller.Pod),
		zap.String("podUID", caller.PodUID),
		zap.String("serial", token.Serial.Text(16)), zap.Time("notAfter", token.NotAfter), zap.Stringer("client", addr))
	leaf, err := authority.Issuer.Issue(token)
	if err != nil {
		return nil, err
	}
	return &pb.CertifyResponse{Chain: leaf.Chain, NotAfter: leaf.NotAfter.Unix(), TrustAnchors: encode(authority.Roots)},
		nil
}

func encode(certs []*x509.Certificate) [][]byte {
	out := make([][]byte, len(certs))
	for i, cert := range certs {
		out[i] = cert.Raw
	}
	return out
}

// peerAddr returns the address that the request comes from, or the zero Addr if it is unknown.
func peerAddr(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}
