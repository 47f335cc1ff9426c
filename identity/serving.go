package identity

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
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

const (
	// servingRetry is the pause after the server could not issue its own certificate.
	servingRetry = 10 * time.Second
	// servingLook is the longest time between two checks of the wall clock: a timer does not advance while the machine
	// sleeps, and does not notice a changed clock.
	servingLook = time.Minute
)

// serving maintains the server's own certificate. The server issues it to itself by the usual rules. It issues a new
// one when the authority changes and when half of the lifetime is over.
type serving struct {
	id        mesh.ID
	authority *latest.Cell[*Authority]
	log       *zap.Logger
	cert      atomic.Pointer[tls.Certificate]
	ready     chan struct{} // closed when the first certificate is active
	once      sync.Once
}

func (s *serving) Run(ctx context.Context) error {
	var used *Authority
	authority, seen, err := s.authority.Wait(ctx, 0)
	for err == nil {
		pause := servingLook
		if authority != used || s.due(time.Now()) {
			if issueErr := s.renew(authority); issueErr != nil {
				s.log.Error("failed to renew the server's own certificate", zap.Error(issueErr))
				pause = servingRetry
			} else {
				used = authority
			}
		}
		authority, seen, err = s.next(ctx, authority, seen, pause)
	}
	return err
}

// due reports whether the certificate must be replaced at now, by the wall clock. That is in the second half of its
// lifetime, and before it becomes valid.
func (s *serving) due(now time.Time) bool {
	cert := s.cert.Load()
	if cert == nil {
		return true
	}
	begin, end := cert.Leaf.NotBefore, cert.Leaf.NotAfter
	return now.Before(begin) || now.After(begin.Add(end.Sub(begin)/2))
}

func (s *serving) renew(authority *Authority) error {
	cert, err := selfIssue(authority, s.id, time.Now())
	if err != nil {
		return err
	}
	s.cert.Store(cert)
	s.once.Do(func() { close(s.ready) })
	return nil
}

// next waits for another authority, but at most for the pause.
func (s *serving) next(ctx context.Context, current *Authority, seen uint64, pause time.Duration) (*Authority, uint64,
	error) {
	waiting, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	authority, seq, err := s.authority.Wait(waiting, seen)
	if err != nil {
		return current, seen, ctx.Err()
	}
	return authority, seq, nil
}

func selfIssue(authority *Authority, id mesh.ID, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URI()}}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	token, err := authority.Issuer.Prepare(csr, id, now)
	if err != nil {
		return nil, err
	}
	leaf, err := authority.Issuer.Issue(token)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(leaf.Chain[0])
	if err != nil {
		return nil, fmt.Errorf("parse own certificate: %w", err)
	}
	return &tls.Certificate{Certificate: leaf.Chain, PrivateKey: key, Leaf: cert}, nil
}

// tlsConfig returns mesh TLS without client certificates: clients call to get one.
func (s *serving) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := s.cert.Load(); cert != nil {
				return cert, nil
			}
			return nil, errors.New("the identity controller has no issuer yet")
		},
	}
}
