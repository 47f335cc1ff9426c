package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// lifetime of everything that the cluster's authorities sign; a test cluster does not live to see the end of it.
const lifetime = 365 * 24 * time.Hour

// authority signs certificates of one trust domain of the cluster
// (https://kubernetes.io/docs/setup/best-practices/certificates/).
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// subject is who a certificate speaks for. DNS and IPs make it a server's.
type subject struct {
	name   string // common name: the user
	groups []string
	dns    []string
	ips    []net.IP
}

func newAuthority(name string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key of authority %s: %w", name, err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	return &authority{cert: cert, key: key}, nil
}

// issue writes DIR/name.crt and DIR/name.key for a subject.
func (a *authority) issue(dir, name string, who subject, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate key %s: %w", name, err)
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(who.dns)+len(who.ips) > 0 {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: who.name, Organization: who.groups},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage, DNSNames: who.dns, IPAddresses: who.ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign certificate %s: %w", name, err)
	}
	if err := writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, name+".key"), key)
}

func (a *authority) write(dir, name string) error {
	if err := writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", a.cert.Raw); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, name+".key"), a.key)
}

func writeKey(file string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode %s: %w", file, err)
	}
	return writePEM(file, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := writeFile(file, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

// issueAll writes the certificates of a cluster of nodes 1..maxNodes, so that nodes can join later without the
// authority's help.
func issueAll(dir string, f fabric, now time.Time) error {
	ca, err := newAuthority("tulle-test-cluster", now)
	if err != nil {
		return err
	}
	frontProxy, err := newAuthority("tulle-test-front-proxy", now)
	if err != nil {
		return err
	}
	if err := ca.write(dir, "ca"); err != nil {
		return err
	}
	if err := frontProxy.write(dir, "front-proxy-ca"); err != nil {
		return err
	}
	serviceAccounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate key of service accounts: %w", err)
	}
	if err := writeKey(filepath.Join(dir, "service-accounts.key"), serviceAccounts); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(serviceAccounts.Public())
	if err != nil {
		return fmt.Errorf("encode public key of service accounts: %w", err)
	}
	if err := writePEM(filepath.Join(dir, "service-accounts.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	api := f.addr4(1).Addr().String()
	admins := []string{"system:masters"}
	clients := map[string]subject{
		"apiserver": {
			name: "kube-apiserver", ips: parseIPs(api, apiService, "127.0.0.1"),
			dns: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." +
				clusterDomain, "localhost"},
		},
		"apiserver-kubelet":  {name: "kube-apiserver-kubelet-client", groups: admins},
		"admin":              {name: "kubernetes-admin", groups: admins},
		"controller-manager": {name: "system:kube-controller-manager"},
		"scheduler":          {name: "system:kube-scheduler"},
		"kube-proxy":         {name: "system:kube-proxy"},
	}
	for n := 1; n <= maxNodes; n++ {
		name := nodeName(n)
		clients[name] = subject{
			name: "system:node:" + name, groups: []string{"system:nodes"},
			dns: []string{name}, ips: parseIPs(f.addr4(n).Addr().String(), f.addr6(n).Addr().String()),
		}
	}
	for name, who := range clients {
		if err := ca.issue(dir, name, who, now); err != nil {
			return err
		}
	}
	return frontProxy.issue(dir, "front-proxy-client", subject{name: "front-proxy-client"}, now)
}

func parseIPs(addresses ...string) []net.IP {
	ips := make([]net.IP, len(addresses))
	for i, a := range addresses {
		ips[i] = net.ParseIP(a)
	}
	return ips
}
