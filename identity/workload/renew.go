package workload

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
)

// renew requests a certificate for a new key, and activates it.
func (m *Manager) renew(ctx context.Context) error {
	cert, trust, err := m.request(ctx)
	if err != nil {
		m.mu.Lock()
		m.status.Failures++
		m.status.LastError = err
		m.mu.Unlock()
		return err
	}
	m.setCertificate(cert, trust)
	m.log.Info("certificate active", zap.Stringer("id", m.id), zap.Time("notAfter", cert.Leaf.NotAfter))
	return nil
}

func (m *Manager) request(ctx context.Context) (*tls.Certificate, *trust, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// The previous anchors are enough: the file may be missing for a moment while it is replaced.
	if err := m.readRoots(); err != nil && m.state.Load().trust == nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{m.id.URI()}}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate request: %w", err)
	}
	ans, err := m.certifier.certify(ctx, csr)
	if err != nil {
		return nil, nil, fmt.Errorf("certify %s: %w", m.id, err)
	}
	trust, err := m.state.Load().trust.withResponse(ans.anchors)
	if err != nil {
		return nil, nil, err
	}
	cert, err := newCertificate(key, ans.chain)
	if err != nil {
		return nil, nil, err
	}
	if err := (&state{cert: cert, trust: trust}).check(time.Now()); err != nil {
		return nil, nil, fmt.Errorf("check certificate of the response: %w", err)
	}
	if id, err := leafID(cert.Leaf); err != nil || id != m.id {
		return nil, nil, fmt.Errorf("check certificate of the response: it is of %s, want %s", id, m.id)
	}
	return cert, trust, nil
}

func newCertificate(key *ecdsa.PrivateKey, chain [][]byte) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("check certificate of the response: empty chain")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("check certificate of the response: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("check certificate of the response: it is for another key")
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

// setCertificate activates a certificate that has arrived, and notes in the status that it did. After the first, the
// Manager is ready.
func (m *Manager) setCertificate(cert *tls.Certificate, trust *trust) {
	first := m.swapState(cert, trust).cert == nil
	m.mu.Lock()
	m.status.NotBefore, m.status.NotAfter = cert.Leaf.NotBefore, cert.Leaf.NotAfter
	m.status.Refreshed, m.status.LastError = time.Now(), nil
	m.status.Refreshes++
	m.mu.Unlock()
	if first {
		close(m.ready)
	}
}

// check verifies our own certificate as a peer with the same anchors would.
func (s *state) check(now time.Time) error {
	chain := make([]*x509.Certificate, len(s.cert.Certificate))
	for i, der := range s.cert.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain[i] = cert
	}
	id, err := s.trust.identify(chain, x509.ExtKeyUsageServerAuth, now)
	if reasonOf(id, err) == OutOfTime {
		return fmt.Errorf("%w; compare the clock of this machine with the identity controller's", err)
	}
	return err
}

// usable returns nil if there is a certificate and now is within its dates.
func (s *state) usable(id mesh.ID, now time.Time) error {
	switch {
	case s.cert == nil:
		return fmt.Errorf("mesh TLS of %s: %w: the identity controller has not issued one yet", id, ErrNoCertificate)
	case now.After(s.cert.Leaf.NotAfter):
		return fmt.Errorf("mesh TLS of %s: %w: it ended at %s, the clock says %s", id, ErrNoCertificate,
			s.cert.Leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}
