package workload

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// ErrNoCertificate is wrapped by the error of each handshake that fails because the workload has no valid certificate.
var ErrNoCertificate = errors.New("no valid certificate of our own")

// Reason is a constant word for the refusal of a peer. Metrics use it as a label value.
type Reason string

// The reasons of a PeerError.
const (
	NoTrust       Reason = "no_trust_anchors"
	Malformed     Reason = "malformed_certificate"
	Untrusted     Reason = "unknown_authority"
	OutOfTime     Reason = "certificate_out_of_time"
	WrongIdentity Reason = "wrong_identity"
	Revoked       Reason = "revoked"
)

// PeerError is the error of a handshake in which the peer could not prove its identity. crypto/tls returns it unchanged
// to the refusing side.
type PeerError struct {
	Self   mesh.ID
	Peer   mesh.ID // the identity that the peer claims; zero if it cannot be read
	Want   mesh.ID // the identity that the connection needs; zero on the accepting side
	Reason Reason
	Err    error // nil for WrongIdentity
}

func (e *PeerError) Error() string {
	peer := e.Peer.String()
	if peer == "" {
		peer = "an unreadable identity"
	}
	switch e.Reason {
	case WrongIdentity:
		return fmt.Sprintf("mesh TLS of %s: peer is %s, want %s", e.Self, peer, e.Want)
	case OutOfTime:
		return fmt.Sprintf("mesh TLS of %s with %s: %v; compare the clocks of both machines", e.Self, peer, e.Err)
	default:
		return fmt.Sprintf("mesh TLS of %s with %s: %v", e.Self, peer, e.Err)
	}
}

// Unwrap returns the cause.
func (e *PeerError) Unwrap() error { return e.Err }

// ServerTLS returns a configuration that accepts mesh TLS: TLS 1.3, one of the ALPN protocols, and a client that proves
// an identity of the mesh. PeerID returns that identity. Each handshake uses the certificate and anchors that are
// active at that moment, and fails with ErrNoCertificate or a PeerError. Any number of connections may share the
// configuration.
func (m *Manager) ServerTLS(alpn ...string) *tls.Config {
	cfg := baseTLS(alpn)
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.certificate() }
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		return m.verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth, mesh.ID{})
	}
	return cfg
}

// ClientTLS returns a configuration that connects only to the workload server; see ServerTLS.
func (m *Manager) ClientTLS(server mesh.ID, alpn ...string) *tls.Config {
	cfg := m.verifyingTLS(server, alpn)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.certificate() }
	return cfg
}

// verifyingTLS returns what ClientTLS returns, but without a certificate of our own.
func (m *Manager) verifyingTLS(server mesh.ID, alpn []string) *tls.Config {
	cfg := baseTLS(alpn)
	// Certificates of the mesh name identities, not hosts, so VerifyConnection does the whole verification.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		return m.verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, server)
	}
	return cfg
}

// baseTLS returns the common part. It resumes no session: a resumed session would skip the active anchors, and tickets
// would keep keys in use after the certificate has expired. Records have no dynamic size: the mesh writes in large
// batches, and small first records cost more than they save.
func baseTLS(alpn []string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos:                  alpn,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}
}

// PeerID returns the identity of the peer of a connection made with ServerTLS or ClientTLS. The handshake has verified
// it.
func PeerID(cs tls.ConnectionState) (mesh.ID, error) {
	if len(cs.PeerCertificates) == 0 {
		return mesh.ID{}, errors.New("peer has no certificate")
	}
	return leafID(cs.PeerCertificates[0])
}

// certificate returns the active certificate, or an error that wraps ErrNoCertificate.
func (m *Manager) certificate() (*tls.Certificate, error) {
	s := m.state.Load()
	if err := s.usable(m.id, time.Now()); err != nil {
		return nil, err
	}
	return s.cert, nil
}

func (m *Manager) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, want mesh.ID) error {
	s := m.state.Load()
	if s.trust == nil {
		return &PeerError{Self: m.id, Want: want, Reason: NoTrust, Err: errors.New("no trust anchors yet")}
	}
	peer, err := s.trust.identify(chain, usage, time.Now())
	if err != nil {
		return &PeerError{Self: m.id, Peer: peer, Want: want, Reason: reasonOf(peer, err), Err: err}
	}
	if !want.IsZero() && peer != want {
		return &PeerError{Self: m.id, Peer: peer, Want: want, Reason: WrongIdentity}
	}
	if s.revoked.has(chain[0], peer) {
		return &PeerError{Self: m.id, Peer: peer, Want: want, Reason: Revoked, Err: errRevoked}
	}
	return nil
}

func reasonOf(peer mesh.ID, err error) Reason {
	var invalid x509.CertificateInvalidError
	switch {
	case peer.IsZero():
		return Malformed
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return OutOfTime
	default:
		return Untrusted
	}
}
