package workload_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/meshtest"
)

// identityServer is a gRPC server that issues certificates of web to every caller.
type identityServer struct {
	pb.UnimplementedIdentityServer
	ca    *meshtest.CA
	fail  atomic.Bool
	token atomic.Value // the last token
}

func (s *identityServer) Certify(_ context.Context, req *pb.CertifyRequest) (*pb.CertifyResponse, error) {
	s.token.Store(req.GetToken())
	if s.fail.Load() {
		return nil, status.Error(codes.Unauthenticated, "token_invalid: no")
	}
	leaf, err := s.ca.Sign(req.GetCsr(), web, time.Now())
	if err != nil {
		return nil, err
	}
	return &pb.CertifyResponse{Chain: leaf.Chain, NotAfter: leaf.NotAfter.Unix()}, nil
}

// start serves with a certificate and returns the address.
func (s *identityServer) start(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}})))
	pb.RegisterIdentityServer(server, s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(lis) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return lis.Addr().String()
}

// manage runs a Manager of web until the test ends.
func manage(t *testing.T, ca *meshtest.CA, addr, token string, more ...func(*workload.Config)) *workload.Manager {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := workload.Config{ID: web, Addr: addr, Server: api, TokenFile: file, TrustRootsFile: ca.RootsFile()}
	for _, change := range more {
		change(&cfg)
	}
	m := workload.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

func TestCertificateComesFromTheIdentityControllerOverVerifiedTLS(t *testing.T) {
	ca := meshtest.NewCA(t)
	s := &identityServer{ca: ca}
	m := manage(t, ca, s.start(t, ca.Issue(api)), "secret")
	select {
	case <-m.Ready():
	case <-time.After(20 * time.Second):
		t.Fatalf("no certificate: %v", m.Status().LastError)
	}
	if got := s.token.Load(); got != "secret" {
		t.Errorf("the server saw token %q", got)
	}
}

func TestTokenIsNotSentToAnybodyElse(t *testing.T) {
	ca, other := meshtest.NewCA(t), meshtest.NewCA(t)
	cases := []struct {
		name string
		cert tls.Certificate
		want string
	}{
		{"another workload of the mesh", ca.Issue(web), "want " + api.String()},
		{"the right name from another authority", other.Issue(api), "unknown authority"},
		{"the right name, expired", ca.IssueAt(api, time.Now().Add(-48*time.Hour)), "compare the clocks"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &identityServer{ca: ca}
			m := manage(t, ca, s.start(t, c.cert), "secret")
			err := awaitFailure(t, m)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want an error that says %q", err, c.want)
			}
			if token := s.token.Load(); token != nil {
				t.Errorf("the impostor got the token %q", token)
			}
		})
	}
}

func TestRefusalOfTheControllerIsReported(t *testing.T) {
	ca := meshtest.NewCA(t)
	s := &identityServer{ca: ca}
	s.fail.Store(true)
	err := awaitFailure(t, manage(t, ca, s.start(t, ca.Issue(api)), "secret"))
	if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "token_invalid") {
		t.Errorf("got %v", err)
	}
	empty := awaitFailure(t, manage(t, ca, "127.0.0.1:1", ""))
	if !strings.Contains(empty.Error(), "the file is empty") {
		t.Errorf("without a token: got %v", empty)
	}
}

func TestCallsAreReportedWithTheirStatus(t *testing.T) {
	ca := meshtest.NewCA(t)
	s := &identityServer{ca: ca}
	s.fail.Store(true)
	got := make(chan codes.Code, 16)
	m := manage(t, ca, s.start(t, ca.Issue(api)), "secret", func(cfg *workload.Config) {
		cfg.Called = func(took time.Duration, code int16) {
			s.fail.Store(false)
			if took <= 0 {
				t.Errorf("the call took %v", took)
			}
			got <- codes.Code(code)
		}
	})
	<-m.Ready()
	if first, second := <-got, <-got; first != codes.Unauthenticated || second != codes.OK {
		t.Errorf("got %v, then %v; want a refusal, then a certificate", first, second)
	}
}

// awaitFailure returns the error of the Manager's first attempt.
func awaitFailure(t *testing.T, m *workload.Manager) error {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		if status := m.Status(); status.Failures > 0 {
			return status.LastError
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no attempt failed")
		}
	}
}
