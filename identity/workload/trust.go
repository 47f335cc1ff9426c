package workload

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// Limits of a peer's certificates. A chain of the mesh is a leaf, its issuer and rarely one or two more. Verifying
// costs a signature check per certificate, so longer chains are refused before any check.
const (
	maxChain      = 4
	maxChainBytes = 16 << 10
)

// trust is the set of active trust anchors: those of the trust roots file and those of the identity controller's last
// response.
//
// Both come from the same bundle, but either may be newer: kubelets take up to two minutes to update a ConfigMap in a
// pod, and a response is as old as the certificate. The union includes a new anchor as soon as either has it. A dropped
// anchor must disappear as fast, so a changed file overrides an earlier response.
type trust struct {
	bundle   []byte // the content of the file
	file     []*x509.Certificate
	response []*x509.Certificate
	pool     *x509.CertPool
	hash     uint64 // mesh.RootsHash of both
	proofs   proofs
}

// withFile returns the trust after the file was read. It returns t itself if the file has not changed.
func (t *trust) withFile(bundle []byte) (*trust, error) {
	if t != nil && bytes.Equal(t.bundle, bundle) {
		return t, nil
	}
	roots, err := mesh.ParseRoots(bundle)
	if err != nil {
		return t, err
	}
	return newTrust(bundle, roots, nil), nil
}

// withResponse returns the trust after the identity controller sent anchors, DER. It returns t itself if the anchors
// have not changed.
func (t *trust) withResponse(anchors [][]byte) (*trust, error) {
	var roots []*x509.Certificate
	for _, der := range anchors {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return t, fmt.Errorf("parse trust anchor of the response: %w", err)
		}
		if !cert.IsCA {
			return t, fmt.Errorf("trust anchor %q of the response is not a CA", cert.Subject)
		}
		roots = append(roots, cert)
	}
	if slices.EqualFunc(roots, t.response, (*x509.Certificate).Equal) {
		return t, nil
	}
	return newTrust(t.bundle, t.file, roots), nil
}

func newTrust(bundle []byte, file, response []*x509.Certificate) *trust {
	t := &trust{bundle: bundle, file: file, response: response, pool: x509.NewCertPool()}
	roots := slices.Concat(file, response)
	for _, cert := range roots {
		t.pool.AddCert(cert)
	}
	t.hash = mesh.RootsHash(roots)
	return t
}

// identify returns the identity that a chain, leaf first, proves at now for the usage. With an error it returns the
// identity that the leaf claims, if it can be read.
func (t *trust) identify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (mesh.ID, error) {
	if err := checkSize(chain); err != nil {
		return mesh.ID{}, err
	}
	id, err := leafID(chain[0])
	if err != nil {
		return mesh.ID{}, err
	}
	_, err = t.verify(chain, usage, now)
	return id, err
}

// verify returns the time in which the chain is valid.
func (t *trust) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (validity, error) {
	key := keyOf(chain, usage)
	if v, ok := t.proofs.recall(key, now); ok {
		return v, nil
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.pool, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return validity{}, err
	}
	return t.proofs.add(key, verified[0]), nil
}

func checkSize(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	if len(chain) > maxChain {
		return fmt.Errorf("chain of %d certificates, want %d at most", len(chain), maxChain)
	}
	size := 0
	for _, cert := range chain {
		size += len(cert.Raw)
	}
	if size > maxChainBytes {
		return fmt.Errorf("chain of %d bytes, want %d at most", size, maxChainBytes)
	}
	return nil
}

// leafID returns the identity that a leaf claims. Source: SPIFFE X509-SVID §2 (exactly one URI SAN), §4.1 (not a CA),
// §4.3 (key usage digitalSignature, neither keyCertSign nor cRLSign).
func leafID(cert *x509.Certificate) (mesh.ID, error) {
	switch {
	case cert.IsCA || cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return mesh.ID{}, errors.New("certificate of an authority, not of a workload")
	case cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return mesh.ID{}, errors.New("certificate without key usage digitalSignature")
	case len(cert.URIs) != 1:
		return mesh.ID{}, fmt.Errorf("certificate with %d URI names, want one", len(cert.URIs))
	case cert.URIs[0].Scheme != "spiffe":
		return mesh.ID{}, fmt.Errorf("certificate of %q, want a SPIFFE ID", cert.URIs[0])
	}
	return mesh.ParseID(cert.URIs[0].String())
}
