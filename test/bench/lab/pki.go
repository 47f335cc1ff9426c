package lab

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Party is one end of the mutual TLS between a pair of proxies.
type Party struct {
	Name   string // DNS name in the certificate
	SPIFFE string // the mesh identity in the certificate
	Chain  string // file: leaf and intermediate
	Key    string // file: private key
	Bundle string // file: leaf, intermediate and key in one
}

// PKI are the files of the bench's certificate authority: ECDSA P-256, one intermediate, valid for a day.
type PKI struct {
	Roots             string // file: the trust anchor
	Issuer, IssuerKey string // files: the intermediate and its private key
	Client, Server    Party
	Tap               Party // who may watch the proxies
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewPKI writes a new authority and the parties' certificates into dir.
func NewPKI(dir string, now time.Time) (*PKI, error) {
	root, err := newAuthority("bench root", nil, now)
	if err != nil {
		return nil, err
	}
	intermediate, err := newAuthority("bench issuer", root, now)
	if err != nil {
		return nil, err
	}
	p := &PKI{Roots: filepath.Join(dir, "roots.pem"), Issuer: filepath.Join(dir, "issuer.pem"),
		IssuerKey: filepath.Join(dir, "issuer-key.pem")}
	der, err := x509.MarshalPKCS8PrivateKey(intermediate.key)
	if err != nil {
		return nil, fmt.Errorf("encode issuer's key: %w", err)
	}
	for path, data := range map[string][]byte{
		p.Roots: block("CERTIFICATE", root.cert.Raw), p.Issuer: block("CERTIFICATE", intermediate.cert.Raw),
		p.IssuerKey: block("PRIVATE KEY", der),
	} {
		if err := writePEM(path, data); err != nil {
			return nil, err
		}
	}
	for _, side := range []struct {
		party *Party
		name  string
	}{{&p.Client, "client"}, {&p.Server, "server"}, {&p.Tap, "tap"}} {
		if *side.party, err = intermediate.issue(dir, side.name, now); err != nil {
			return nil, fmt.Errorf("issue %s certificate: %w", side.name, err)
		}
	}
	return p, nil
}

func newAuthority(name string, parent *authority, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", name, err)
	}
	a := &authority{key: key}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Minute),
		NotAfter: now.Add(24 * time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	signer := &authority{cert: template, key: key}
	if parent != nil {
		signer = parent
	}
	if a.cert, err = sign(template, signer, key); err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	return a, nil
}

func (a *authority) issue(dir, name string, now time.Time) (Party, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Party{}, err
	}
	p := Party{
		Name: name + ".bench", SPIFFE: "spiffe://cluster.local/ns/bench/sa/" + name,
		Chain: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+"-key.pem"),
		Bundle: filepath.Join(dir, name+"-bundle.pem"),
	}
	id, err := url.Parse(p.SPIFFE)
	if err != nil {
		return Party{}, err
	}
	cert, err := sign(&x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(23 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: []string{p.Name},
		URIs: []*url.URL{id},
	}, a, key)
	if err != nil {
		return Party{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Party{}, err
	}
	chain := append(block("CERTIFICATE", cert.Raw), block("CERTIFICATE", a.cert.Raw)...)
	private := block("PRIVATE KEY", der)
	for path, data := range map[string][]byte{p.Chain: chain, p.Key: private,
		p.Bundle: bytes.Join([][]byte{chain, private}, nil)} {
		if err := writePEM(path, data); err != nil {
			return Party{}, err
		}
	}
	return p, nil
}

func sign(template *x509.Certificate, signer *authority, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return new(big.Int).SetBytes(b)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func writePEM(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
