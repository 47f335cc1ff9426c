package workload_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

var (
	web = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	api = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "api.v2"}
)

// handshake connects the two configurations over a loopback socket and returns both results. A client of TLS 1.3 sees
// its refusal at the first read.
func handshake(t *testing.T, server, client *tls.Config) (serverState, clientState tls.ConnectionState, serverErr,
	clientErr error) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := lis.Accept()
		if err != nil {
			serverErr = err
			return
		}
		conn := tls.Server(raw, server)
		defer conn.Close()
		if serverErr = conn.Handshake(); serverErr == nil {
			serverState = conn.ConnectionState()
			_, serverErr = conn.Write([]byte{1})
		}
	}()
	raw, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		clientState = conn.ConnectionState()
		_, clientErr = conn.Read(make([]byte, 1))
	}
	conn.Close()
	<-done
	return serverState, clientState, serverErr, clientErr
}

func TestBothSidesLearnWhoThePeerIs(t *testing.T) {
	ca := meshtest.NewCA(t)
	server, client, serverErr, clientErr := handshake(t,
		ca.Certs(api).ServerTLS(mesh.ALPNMux, mesh.ALPNRelay), ca.Certs(web).ClientTLS(api, mesh.ALPNRelay))
	if serverErr != nil || clientErr != nil {
		t.Fatalf("handshake: server %v, client %v", serverErr, clientErr)
	}
	if got, err := workload.PeerID(server); err != nil || got != web {
		t.Errorf("server sees %v (%v), want %v", got, err, web)
	}
	if got, err := workload.PeerID(client); err != nil || got != api {
		t.Errorf("client sees %v (%v), want %v", got, err, api)
	}
	if client.Version != tls.VersionTLS13 || client.CurveID != tls.X25519MLKEM768 ||
		client.NegotiatedProtocol != mesh.ALPNRelay {
		t.Errorf("got version %x, curve %v, protocol %q", client.Version, client.CurveID, client.NegotiatedProtocol)
	}
}

func TestPeerThatCannotProveItsIdentityIsRefused(t *testing.T) {
	ca, other := meshtest.NewCA(t), meshtest.NewCA(t)
	with := func(cert tls.Certificate) *workload.Manager {
		m, err := workload.Static(cert, ca.Roots())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	names := func(n int) tls.Certificate {
		return selfSigned(t, func(c *x509.Certificate) {
			for i := range n {
				id := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: fmt.Sprintf("sa-%d", i)}
				c.URIs = append(c.URIs, id.URI())
			}
		})
	}
	long := selfSigned(t, func(c *x509.Certificate) { c.URIs = []*url.URL{web.URI()} })
	for range 200 {
		long.Certificate = append(long.Certificate, long.Certificate[0])
	}
	good := func(c *x509.Certificate) { c.URIs = []*url.URL{web.URI()} }
	cases := []struct {
		name   string
		client tls.Certificate
		reason workload.Reason
		text   string
	}{
		{"another authority", other.Issue(web), workload.Untrusted, web.String()},
		{"made by itself", selfSigned(t, good), workload.Untrusted, "unknown authority"},
		{"ended yesterday", ca.IssueAt(web, time.Now().Add(-48*time.Hour)), workload.OutOfTime, "compare the clocks"},
		{"begins tomorrow", ca.IssueAt(web, time.Now().Add(24*time.Hour)), workload.OutOfTime, "compare the clocks"},
		{"no name", selfSigned(t, func(*x509.Certificate) {}), workload.Malformed, "0 URI names"},
		{"two names", names(2), workload.Malformed, "2 URI names"},
		{"a thousand names", names(1000), workload.Malformed, "bytes, want"},
		{"a host name", selfSigned(t, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "https", Host: "web.shop"}} }),
			workload.Malformed, "want a SPIFFE ID"},
		{"an authority's certificate", selfSigned(t, func(c *x509.Certificate) { good(c); c.IsCA = true }),
			workload.Malformed, "of an authority"},
		{"a long chain", long, workload.Malformed, "chain of 201 certificates"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := with(ca.Issue(web)).ClientTLS(api, "x")
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.client, nil }
			_, _, err, clientErr := handshake(t, with(ca.Issue(api)).ServerTLS("x"), client)
			if clientErr == nil {
				t.Error("the client was let in")
			}
			var refused *workload.PeerError
			if !errors.As(err, &refused) || refused.Reason != c.reason {
				t.Fatalf("got %v, want a PeerError because of %s", err, c.reason)
			}
			if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), api.String()) {
				t.Errorf("error %q does not say %q and who we are", err, c.text)
			}
		})
	}
}

func TestClientRefusesEveryServerButTheOneItWants(t *testing.T) {
	ca, other := meshtest.NewCA(t), meshtest.NewCA(t)
	cases := []struct {
		name   string
		server *workload.Manager
		reason workload.Reason
		text   string
	}{
		{"somebody else of the mesh", ca.Certs(web), workload.WrongIdentity, "peer is " + web.String() + ", want " +
			api.String()},
		{"the right name from another authority", other.Certs(api), workload.Untrusted, api.String()},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := handshake(t, c.server.ServerTLS("x"), ca.Certs(web).ClientTLS(api, "x"))
			var refused *workload.PeerError
			if !errors.As(err, &refused) || refused.Reason != c.reason || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want a PeerError because of %s that says %q", err, c.reason, c.text)
			}
		})
	}
}

func TestNoHandshakeWithoutCertificateOrCommonProtocol(t *testing.T) {
	ca := meshtest.NewCA(t)
	old, err := workload.Static(ca.IssueAt(api, time.Now().Add(-48*time.Hour)), ca.Roots())
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Err(); !errors.Is(err, workload.ErrNoCertificate) {
		t.Errorf("a certificate that ended: got %v, want %v", err, workload.ErrNoCertificate)
	}
	none := workload.New(workload.Config{ID: api, Server: web})
	anonymous := ca.Certs(web).ClientTLS(api, "x")
	anonymous.GetClientCertificate = nil
	cases := []struct {
		name           string
		server, client *tls.Config
		want           error // of the server; nil means any
	}{
		{"server without a certificate", none.ServerTLS("x"), ca.Certs(web).ClientTLS(api, "x"), workload.ErrNoCertificate},
		{"server whose certificate ended", old.ServerTLS("x"), ca.Certs(web).ClientTLS(api, "x"), workload.ErrNoCertificate},
		{"client without a certificate", ca.Certs(api).ServerTLS("x"), anonymous, nil},
		{"other protocol", ca.Certs(api).ServerTLS(mesh.ALPNMux), ca.Certs(web).ClientTLS(api, mesh.ALPNRelay), nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, serverErr, clientErr := handshake(t, c.server, c.client)
			if serverErr == nil || clientErr == nil || (c.want != nil && !errors.Is(serverErr, c.want)) {
				t.Errorf("server %v, client %v, want %v", serverErr, clientErr, c.want)
			}
		})
	}
}

// selfSigned returns a self-signed certificate that is valid today, after edit.
func selfSigned(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
