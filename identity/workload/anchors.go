package workload

import (
	"crypto/x509"
	"errors"
	"time"
)

// Anchors are the active trust anchors and the revoked peers at one moment. Two values are equal until either is
// replaced. The zero value trusts nobody.
type Anchors struct {
	trust   *trust
	revoked *revoked
}

// Anchors returns the active trust anchors. replaced is closed when the anchors or the workload's own certificate are
// replaced. An invalid trust roots file replaces nothing.
func (m *Manager) Anchors() (a Anchors, replaced <-chan struct{}) {
	s := m.state.Load()
	return Anchors{s.trust, s.revoked}, s.replaced
}

// Vouch reports whether a peer's chain would be accepted at now, and until when. An earlier handshake has verified the
// chain. reason is empty if the chain is accepted; otherwise it is the reason of the PeerError.
func (a Anchors) Vouch(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (until time.Time,
	reason Reason) {
	if a.trust == nil {
		return time.Time{}, NoTrust
	}
	if err := checkSize(chain); err != nil {
		return time.Time{}, Malformed
	}
	v, err := a.trust.verify(chain, usage, now)
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil && a.refuses(chain[0]):
		return time.Time{}, Revoked
	case err == nil:
		return v.to, ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && a.ever(chain, usage):
		return time.Time{}, OutOfTime
	default:
		return time.Time{}, Untrusted
	}
}

func (a Anchors) refuses(leaf *x509.Certificate) bool {
	id, err := leafID(leaf)
	return err != nil || a.revoked.has(leaf, id)
}

// ever reports whether the chain is accepted at any time. crypto/x509 checks the times first, so for an expired
// certificate it does not report that the anchor is missing too. If the chain is accepted at some time, it is accepted
// when one of its certificates begins or ends.
func (a Anchors) ever(chain []*x509.Certificate, usage x509.ExtKeyUsage) bool {
	for _, cert := range chain {
		for _, at := range []time.Time{cert.NotAfter, cert.NotBefore} {
			if _, err := a.trust.verify(chain, usage, at); err == nil {
				return true
			}
		}
	}
	return false
}

// Accepted returns nil if a peer with the same anchors would accept the workload's own certificate at now.
func (m *Manager) Accepted(now time.Time) error {
	s := m.state.Load()
	if err := s.usable(m.id, now); err != nil {
		return err
	}
	return s.check(now)
}
