package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// dial connects to the controller from the loopback address local.
func dial(t *testing.T, c *Controller, local string) pb.IdentityClient {
	t.Helper()
	return pb.NewIdentityClient(connect(t, c, local))
}

func connect(t *testing.T, c *Controller, local string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+c.cfg.Listener.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}).DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func csrOf(t *testing.T, id mesh.ID) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URI()}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestRefusalsHaveACodeAReasonAndACounter(t *testing.T) {
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	client := dial(t, controller, "127.0.0.1")
	const token = "shop/web/web-0"
	cases := []struct {
		name   string
		req    *pb.CertifyRequest
		code   codes.Code
		reason string
	}{
		{"good", &pb.CertifyRequest{Token: token, Csr: csrOf(t, web)}, codes.OK, ""},
		{"no token", &pb.CertifyRequest{Csr: csrOf(t, web)}, codes.Unauthenticated, reasonTokenMissing},
		{"token of nobody", &pb.CertifyRequest{Token: "x", Csr: csrOf(t, web)}, codes.Unauthenticated, reasonTokenInvalid},
		{"request for somebody else", &pb.CertifyRequest{Token: token, Csr: csrOf(t, api)}, codes.FailedPrecondition,
			reasonForeignName},
		{"request of garbage", &pb.CertifyRequest{Token: token, Csr: []byte{1}}, codes.InvalidArgument, reasonRequest},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			resp, err := client.Certify(t.Context(), tc.req)
			if got := status.Code(err); got != tc.code || !strings.Contains(status.Convert(err).Message(), tc.reason) {
				t.Fatalf("got %v, want %v because of %s", err, tc.code, tc.reason)
			}
			if tc.code == codes.OK {
				if len(resp.GetChain()) != 2 || len(resp.GetTrustAnchors()) != 1 {
					t.Errorf("chain of %d, %d anchors", len(resp.GetChain()), len(resp.GetTrustAnchors()))
				}
			} else if got := testutil.ToFloat64(controller.metrics.refusals.WithLabelValues(tc.reason)); got != 1 {
				t.Errorf("%v refusals counted because of %s, want 1", got, tc.reason)
			}
		})
	}
	if got := testutil.ToFloat64(controller.metrics.issued); got != 1 {
		t.Errorf("%v certificates counted, want 1", got)
	}
	_, err := client.Certify(t.Context(), &pb.CertifyRequest{Token: strings.Repeat("x", maxRequestBytes)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request that is too large: got %v", err)
	}
}

func TestOneAddressThatFloodsDoesNotStarveTheOthers(t *testing.T) {
	c := newCluster(t)
	controller := c.start(func(cfg *Config) { cfg.Limits.Address = Limit{PerSecond: 1, Burst: 5} })
	awaitClosed(t, controller.Ready(), "readiness")
	flooder := dial(t, controller, "127.0.0.2")
	refused := 0
	for range 100 {
		_, err := flooder.Certify(t.Context(), &pb.CertifyRequest{Token: "nobody"})
		if status.Code(err) == codes.ResourceExhausted {
			refused++
		}
	}
	if refused < 80 || c.reviews.Load() > 20 {
		t.Errorf("%d of 100 were refused by the limit and %d reached the API server", refused, c.reviews.Load())
	}
	other := dial(t, controller, "127.0.0.3")
	if _, err := other.Certify(t.Context(), &pb.CertifyRequest{Token: "shop/web/w", Csr: csrOf(t, web)}); err != nil {
		t.Errorf("another address: %v", err)
	}
}

func TestCallThatNeverSendsItsRequestDoesNotHoldItsConnection(t *testing.T) {
	c := newCluster(t)
	controller := c.start(func(cfg *Config) {
		cfg.keepalive = lifetimes
		cfg.keepalive.MaxConnectionAge, cfg.keepalive.MaxConnectionAgeGrace = 100*time.Millisecond,
			min(lifetimes.MaxConnectionAgeGrace, 100*time.Millisecond)
	})
	awaitClosed(t, controller.Ready(), "readiness")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	call, err := connect(t, controller, "127.0.0.1").NewStream(ctx, &grpc.StreamDesc{ClientStreams: true},
		pb.Identity_Certify_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := call.RecvMsg(&pb.CertifyResponse{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call without a request ended with %v, want it cut", err)
	}
}

func TestCallThatNeverSendsItsRequestDoesNotHoldUpTheEnd(t *testing.T) {
	c := newCluster(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	controller, err := New(c.config(lis))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = controller.Run(ctx) }()
	awaitClosed(t, controller.Ready(), "readiness")
	call, err := connect(t, controller, "127.0.0.1").NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true},
		pb.Identity_Certify_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := call.RecvMsg(&pb.CertifyResponse{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call without a request ended with %v, want it cut", err)
	}
	awaitClosed(t, done, "the controller's end")
}

func TestOneAddressCannotTakeEveryConnection(t *testing.T) {
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	open := func(local string) (served bool) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		conn, err := d.Dial("tcp", controller.cfg.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}).Handshake() == nil
	}
	for i := range connections.PerAddress {
		if !open("127.0.0.2") {
			t.Fatalf("connection %d of an address was refused", i+1)
		}
	}
	if open("127.0.0.2") {
		t.Error("one connection too many was served")
	}
	if got := testutil.ToFloat64(controller.metrics.refusals.WithLabelValues(reasonConnections)); got != 1 {
		t.Errorf("counted %v refusals, want 1", got)
	}
	if !open("127.0.0.3") {
		t.Error("another address was refused")
	}
}

func TestOneIdentityThatFloodsDoesNotStarveTheOthers(t *testing.T) {
	c := newCluster(t)
	controller := c.start(func(cfg *Config) { cfg.Limits.Identity = Limit{PerSecond: 0.01, Burst: 2} })
	awaitClosed(t, controller.Ready(), "readiness")
	client := dial(t, controller, "127.0.0.1")
	var last error
	for range 3 {
		_, last = client.Certify(t.Context(), &pb.CertifyRequest{Token: "shop/web/w", Csr: csrOf(t, web)})
	}
	if status.Code(last) != codes.ResourceExhausted || !strings.Contains(last.Error(), reasonIdentityLimit) {
		t.Errorf("third request: got %v", last)
	}
	if _, err := client.Certify(t.Context(), &pb.CertifyRequest{Token: "shop/api/a", Csr: csrOf(t, api)}); err != nil {
		t.Errorf("another identity: %v", err)
	}
}
