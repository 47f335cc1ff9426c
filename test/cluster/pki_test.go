package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCertificatesChainToTheirAuthority(t *testing.T) {
	dir := t.TempDir()
	f := fabric{id: 7}
	if err := issueAll(dir, f, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		cert, authority, host string
		usage                 x509.ExtKeyUsage
	}{
		{"apiserver", "ca", f.addr4(1).Addr().String(), x509.ExtKeyUsageServerAuth},
		{"apiserver", "ca", "kubernetes.default.svc", x509.ExtKeyUsageServerAuth},
		{"node-2", "ca", f.addr4(2).Addr().String(), x509.ExtKeyUsageServerAuth},
		{"node-2", "ca", "", x509.ExtKeyUsageClientAuth},
		{"admin", "ca", "", x509.ExtKeyUsageClientAuth},
		{"front-proxy-client", "front-proxy-ca", "", x509.ExtKeyUsageClientAuth},
	} {
		t.Run(tc.cert+" "+tc.host, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, tc.cert+".crt"), filepath.Join(dir, tc.cert+".key"))
			if err != nil {
				t.Fatal(err)
			}
			anchor, err := os.ReadFile(filepath.Join(dir, tc.authority+".crt"))
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(anchor)
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tc.host,
				KeyUsages: []x509.ExtKeyUsage{tc.usage}})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNodeCertificateNamesTheNode(t *testing.T) {
	dir := t.TempDir()
	if err := issueAll(dir, fabric{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "node-1.crt"), filepath.Join(dir, "node-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := pair.Leaf.Subject
	if s.CommonName != "system:node:node-1" || len(s.Organization) != 1 || s.Organization[0] != "system:nodes" {
		t.Errorf("subject: got %s", s)
	}
}
