package servingcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"
)

// Lifetimes of the certificates. Each is renewed after two thirds of its lifetime.
const (
	authorityLife = 365 * 24 * time.Hour
	// ServingLife is that of the certificate that is served.
	ServingLife = 30 * 24 * time.Hour
	// backdate tolerates an API server whose clock is behind.
	backdate = 5 * time.Minute
	// overlap is how long a new authority is announced before its first certificate is served, and an old one after its
	// last.
	overlap = 10 * time.Minute
)

// Keys of the Secret that the replicas share. AuthorityCerts has every active authority, newest first; authorityKey
// belongs to the newest.
const (
	AuthorityCerts = "ca.crt"
	authorityKey   = "ca.key"
	ServingCert    = "tls.crt"
	servingKey     = "tls.key"
)

// credentials prove the identity of a Service: authorities for API servers to trust, newest first, and a serving
// certificate below one of them. A value is immutable.
type credentials struct {
	authorities []*x509.Certificate
	key         *ecdsa.PrivateKey // of authorities[0]
	serving     tls.Certificate   // Leaf is set
}

// renew returns the credentials for dnsName that should be active at now: c itself if nothing is due. A nil c asks for
// new ones.
//
// It never takes two steps at once. A new authority is first announced beside the old one. Certificates
// below it follow after the overlap, and the old authority is removed after another overlap. Replicas and API servers
// have that long to follow each step.
func (c *credentials) renew(dnsName string, now time.Time) (*credentials, error) {
	if c.early(dnsName, now) {
		return c, nil // a clock is wrong: a write would only start a quarrel
	}
	if c == nil || c.check(dnsName, now) != nil {
		fresh, err := (&credentials{}).withAuthority(dnsName, now)
		if err != nil {
			return nil, err
		}
		return fresh.withServing(dnsName, now)
	}
	newest, leaf := c.authorities[0], c.serving.Leaf
	servedByNewest := leaf.CheckSignatureFrom(newest) == nil
	announced := !now.Before(newest.NotBefore.Add(backdate + overlap))
	switch {
	case due(newest, now) && servedByNewest:
		return c.withAuthority(dnsName, now)
	case announced && (!servedByNewest || due(leaf, now)), len(c.authorities) == 1 && due(leaf, now):
		return c.withServing(dnsName, now)
	case len(c.authorities) > 1 && servedByNewest && !now.Before(leaf.NotBefore.Add(backdate+overlap)):
		next := *c
		next.authorities = c.authorities[:1:1]
		return &next, nil
	}
	return c, nil
}

// early reports whether the credentials are good, but not yet valid: replicas whose clocks may write differ by at most
// twice maxSkew.
func (c *credentials) early(dnsName string, now time.Time) bool {
	if c == nil {
		return false
	}
	begin := c.serving.Leaf.NotBefore
	for _, a := range c.authorities {
		if c.serving.Leaf.CheckSignatureFrom(a) == nil && a.NotBefore.After(begin) {
			begin = a.NotBefore
		}
	}
	return now.Before(begin) && begin.Sub(now) <= 2*maxSkew && c.check(dnsName, begin) == nil
}

// ours returns c if it is for dnsName, valid or not. Otherwise it returns nil.
func (c *credentials) ours(dnsName string) *credentials {
	if c == nil || c.check(dnsName, c.serving.Leaf.NotBefore) != nil {
		return nil
	}
	return c
}

// due reports whether two thirds of a certificate's life are over.
func due(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return !now.Before(cert.NotBefore.Add(life * 2 / 3))
}

// check reports why the serving certificate cannot be used for dnsName at now.
func (c *credentials) check(dnsName string, now time.Time) error {
	roots := x509.NewCertPool()
	for _, a := range c.authorities {
		roots.AddCert(a)
	}
	_, err := c.serving.Leaf.Verify(x509.VerifyOptions{DNSName: dnsName, Roots: roots, CurrentTime: now})
	return err
}

// bundle returns the authorities as PEM.
func (c *credentials) bundle() []byte {
	var out bytes.Buffer
	for _, a := range c.authorities {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: a.Raw})
	}
	return out.Bytes()
}

// withAuthority returns a copy with a new authority in front. The authority may sign for dnsName alone, so that its
// key, if it were stolen, is of no use elsewhere.
func (c *credentials) withAuthority(dnsName string, now time.Time) (*credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority key: %w", err)
	}
	template, err := certificate(dnsName+" authority", now, authorityLife)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	template.PermittedDNSDomainsCritical, template.PermittedDNSDomains = true, []string{dnsName}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	next := *c
	next.key, next.authorities = key, append([]*x509.Certificate{cert}, c.authorities...)
	return &next, nil
}

// withServing returns a copy with a new serving certificate below the newest authority.
func (c *credentials) withServing(dnsName string, now time.Time) (*credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make serving key: %w", err)
	}
	template, err := certificate(dnsName, now, ServingLife)
	if err != nil {
		return nil, err
	}
	if end := c.authorities[0].NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	template.DNSNames = []string{dnsName}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, err := sign(template, c.authorities[0], key, c.key)
	if err != nil {
		return nil, fmt.Errorf("make serving certificate: %w", err)
	}
	next := *c
	next.serving = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
	return &next, nil
}

func certificate(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
	}, nil
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// encode returns the Secret's data.
func (c *credentials) encode() (map[string][]byte, error) {
	authority, err := x509.MarshalECPrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("encode authority key: %w", err)
	}
	serving, err := x509.MarshalECPrivateKey(c.serving.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return nil, fmt.Errorf("encode serving key: %w", err)
	}
	return map[string][]byte{
		AuthorityCerts: c.bundle(),
		authorityKey:   pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: authority}),
		ServingCert:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.serving.Certificate[0]}),
		servingKey:     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: serving}),
	}, nil
}

// decodeCredentials reads the Secret's data. Whatever the data is, the result is an error or complete.
func decodeCredentials(data map[string][]byte) (*credentials, error) {
	c := &credentials{}
	for rest := data[AuthorityCerts]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", AuthorityCerts, err)
		}
		c.authorities = append(c.authorities, cert)
	}
	if len(c.authorities) == 0 {
		return nil, fmt.Errorf("read %s: no certificate among the keys %v", AuthorityCerts, slices.Sorted(maps.Keys(data)))
	}
	authority, err := tls.X509KeyPair(data[AuthorityCerts], data[authorityKey])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", authorityKey, err)
	}
	if c.serving, err = tls.X509KeyPair(data[ServingCert], data[servingKey]); err != nil {
		return nil, fmt.Errorf("read %s: %w", ServingCert, err)
	}
	if c.serving.Leaf == nil {
		if c.serving.Leaf, err = x509.ParseCertificate(c.serving.Certificate[0]); err != nil {
			return nil, fmt.Errorf("read %s: %w", ServingCert, err)
		}
	}
	key, isKey := authority.PrivateKey.(*ecdsa.PrivateKey)
	if _, serving := c.serving.PrivateKey.(*ecdsa.PrivateKey); !isKey || !serving {
		return nil, errors.New("read keys: want ECDSA")
	}
	c.key = key
	return c, nil
}
